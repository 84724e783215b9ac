"""Lightning's Trainer without what one small network on one device does not need.

`fit` drives every training with it. It spares a fit about a millisecond of the four or so that the
full one costs beyond the steps, and leaves signals and the module where they are.
"""

from collections.abc import Sequence

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.accelerators import CPUAccelerator, CUDAAccelerator
from pytorch_lightning.strategies import SingleDeviceStrategy


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

        # signals belong to whoever runs the training; it also saves asking for each of the 64
        connector = self._signal_connector
        vars(connector)["register_signal_handlers"] = vars(connector)["teardown"] = _nothing

    def _run_stage(self) -> None:
        """Straight to the training: no check of a validation loop that is not there."""
        self.fit_loop.run()


def _nothing() -> None:
    """In the place of a method of Lightning that is not wanted."""
