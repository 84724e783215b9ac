"""Lightning's Trainer without what one small network on one device does not need.

`fit` drives every training with it. It spares a fit about a millisecond of the four or so that the
full one costs beyond the steps, and every step another one; and it leaves signals and the module
where they are.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.accelerators import CPUAccelerator, CUDAAccelerator
from pytorch_lightning.strategies import SingleDeviceStrategy

from chorale.lightning_models.training import optimizers


class Stay(SingleDeviceStrategy):
    """One device, on which module and optimizer stay when the training is over."""

    def model_to_device(self) -> None:
        """Moves the module if it is not there."""
        if self.lightning_module is None or self.lightning_module.device != self.root_device:
            super().model_to_device()

    def teardown(self) -> None:
        """Without the way back to the processor, which would end in a way back to the device."""
        self.precision_plugin.teardown()
        self.checkpoint_io.teardown()


class LeanTrainer(pl.Trainer):
    """Trains on one device; it has no logger, no checkpoints, no progress bar, no sanity check.

    Its few parameters are a part of its speed: Lightning looks in the environment for each.
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
            strategy=Stay(device, accelerator),
            devices=1,
            max_epochs=max_epochs,
            gradient_clip_val=clip_norm,
            callbacks=list(callbacks),
            plugins=[LightningEnvironment()],  # not Slurm's: it would take over signals
            barebones=True,
        )

        # all steps of an epoch as they are, without the sixty hooks and wrappers around each
        epoch_loop: Any = self.fit_loop.epoch_loop
        epoch_loop.advance, epoch_loop.on_advance_end = partial(_steps, self), _nothing

        self._move: Callable[[], None] | None = None

        # signals belong to whoever runs the training; it also saves asking for each of the 64
        connector = self._signal_connector
        vars(connector)["register_signal_handlers"] = vars(connector)["teardown"] = _nothing

    def move(self) -> None:
        """Moves the weights by their gradients; the optimizer must not be changed afterwards."""
        if self._move is None:
            self._move = optimizers.stepper(self.optimizers[0])
        self._move()

    def _run_stage(self) -> None:
        """Straight to the training: no check of a validation loop that is not there."""
        self.fit_loop.run()


def _steps(trainer: LeanTrainer, *_: object) -> None:
    """All steps of an epoch, each in Lightning's order; it keeps Lightning's counters.

    Batches come straight from their source: what Lightning puts in between, to fetch and to time
    them, takes as long as a tenth of a small network's step.
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
            module.ranks.sum_gradients(module.parameters())
        module.on_before_optimizer_step(optimizer)
        if trainer.gradient_clip_val:
            torch.nn.utils.clip_grad_norm_(module.parameters(), trainer.gradient_clip_val)
        trainer.move()
        count.increment_ready()
        count.increment_completed()
        module.on_train_batch_end(loss, batch, n - 1)
    loop.batch_progress.is_last_batch = True
    progress: Any = loop.batch_progress
    for counts in (progress.total, progress.current):
        counts.ready += n
        counts.started += n
        counts.processed += n
        counts.completed += n


def _nothing(*_: object) -> None:
    """In the place of a method of Lightning that is not wanted."""
