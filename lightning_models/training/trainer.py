"""A lean Lightning Trainer with little overhead, for a small network on one device.

`fit` runs every training with it. It saves about 1 of the 4 ms that a fit costs beyond its steps,
and about 1 ms per step; it installs no signal handlers, and leaves the module on its device.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.accelerators import CPUAccelerator, CUDAAccelerator
from pytorch_lightning.strategies import SingleDeviceStrategy

from chorale.datasets.errors import UserError
from chorale.lightning_models.patches import _lightning
from chorale.lightning_models.training import optimizers


class PersistentDeviceStrategy(SingleDeviceStrategy):
    """Single-device strategy that leaves module and optimizer on the device after training."""

    def model_to_device(self) -> None:
        """Moves the module unless it is already there."""
        if self.lightning_module is None or self.lightning_module.device != self.root_device:
            super().model_to_device()

    def teardown(self) -> None:
        """Does not move the module to the CPU, from which inference would move it back."""
        self.precision_plugin.teardown()
        self.checkpoint_io.teardown()


UNCALLED_HOOKS = (
    "backward",
    "configure_gradient_clipping",
    "lr_scheduler_step",
    "on_after_backward",
    "on_after_batch_transfer",
    "on_before_backward",
    "on_before_batch_transfer",
    "on_before_zero_grad",
    "on_train_batch_start",
    "optimizer_step",
    "transfer_batch_to_device",
)
"""Hooks of a LightningModule that `LeanTrainer` does not call."""


def require_called_hooks(module_class: type[pl.LightningModule]) -> None:
    """Refuses a LightningModule that overrides a hook which `LeanTrainer` does not call.

    Raises:
        UserError: names the hooks, and those to override instead.
    """
    overridden = [
        name
        for name in UNCALLED_HOOKS
        if getattr(module_class, name) is not getattr(pl.LightningModule, name)
    ]
    if overridden:
        raise UserError(
            f"{module_class.__name__} overrides {', '.join(overridden)}, which Chorale's training "
            f"loop does not call; override training_step, optimizer_zero_grad, "
            f"on_before_optimizer_step or on_train_batch_end instead"
        )


class LeanTrainer(pl.Trainer):
    """Trains on one device, without logger, checkpoints, progress bar or sanity check.

    It takes few parameters for speed: Lightning reads the environment for each.
    """

    def __init__(
        self,
        *,
        device: torch.device,
        max_epochs: int,
        clip_norm: float | None,
        callbacks: Sequence[pl.Callback],
    ) -> None:
        accelerator = CUDAAccelerator() if device.type == "cuda" else CPUAccelerator()
        super().__init__(
            strategy=PersistentDeviceStrategy(device, accelerator),
            devices=1,
            max_epochs=max_epochs,
            gradient_clip_val=clip_norm,
            callbacks=list(callbacks),
            plugins=[LightningEnvironment()],  # not Slurm's, which would take over signals
            barebones=True,
        )

        # runs the steps of an epoch without the sixty hooks and wrappers around each
        _lightning.replace_steps(self, partial(_steps, self))

        self._optimizer_step: Callable[[], None] | None = None
        self.after_step: Callable[[], None] | None = None
        """called after each optimizer step"""

        _lightning.leave_signals_alone(self)

    def step_optimizer(self) -> None:
        """Takes an optimizer step; the optimizer must not be replaced afterwards."""
        if self._optimizer_step is None:
            self._optimizer_step = optimizers.fast_step(self.optimizers[0])
        self._optimizer_step()

    def _run_stage(self) -> None:
        """Runs the fit loop alone: there is no validation loop to check."""
        self.fit_loop.run()


def _steps(trainer: LeanTrainer, *_: object) -> None:
    """All steps of an epoch, each in Lightning's order; it maintains Lightning's counters.

    Batches come directly from their source: Lightning's data fetcher and profiler take as long as a
    tenth of a small network's step.
    """
    loop = trainer.fit_loop.epoch_loop
    module: Any = trainer.lightning_module
    optimizer = trainer.optimizers[0]
    count = loop.automatic_optimization.optim_progress.optimizer.step
    n = 0
    batches: Any = trainer.train_dataloader
    for n, batch in enumerate(batches, start=1):
        loss: Any = module.training_step(batch)
        module.optimizer_zero_grad(trainer.current_epoch, n - 1, optimizer)
        torch.autograd.backward(loss)
        if module.ranks.size > 1:
            module.ranks.all_reduce_gradients(module.parameters())
        module.on_before_optimizer_step(optimizer)
        if trainer.gradient_clip_val:
            torch.nn.utils.clip_grad_norm_(module.parameters(), trainer.gradient_clip_val)
        trainer.step_optimizer()
        count.increment_ready()
        count.increment_completed()
        module.on_train_batch_end(loss, batch, n - 1)
        if trainer.after_step is not None:
            trainer.after_step()
    loop.batch_progress.is_last_batch = True
    progress: Any = loop.batch_progress
    for counts in (progress.total, progress.current):
        counts.ready += n
        counts.started += n
        counts.processed += n
        counts.completed += n
