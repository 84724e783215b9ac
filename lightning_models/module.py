"""One LightningModule for every architecture: standardise, augment, train, judge.

`fit.train` drives it, by a `train_config.TrainConfig`.
"""

import math
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from datasets import plugins
from lightning_models import architectures, speed
from lightning_models.augment import mixup, spec_augment
from lightning_models.base import InputShape
from lightning_models.train_config import Schedule, TrainConfig

WARM_UP = 0.05
"""The share of all steps in which a constant or cosine learning rate rises to its full height."""

RISE = 0.3
"""The share of all steps in which a one-cycle learning rate rises."""

CYCLE_START = 1 / 25
"""Where a one-cycle learning rate starts, as a share of its height (Smith and Topin 2019)."""


class Diverged(Exception):  # noqa: N818 - it is what happened to a trial
    """The training ran away: a loss is no longer a finite number. The text says which and when."""


def lr_factor(step: int, *, n_steps: int, schedule: Schedule) -> float:
    """The learning rate of one step as a share of its full height.

    Args:
        step: counted from 0.
        n_steps: of the whole training.
        schedule: constant and cosine start with a short warm-up.

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983 (cosine); Smith and Topin 2019,
    arXiv:1708.07120 (one-cycle).
    """
    rise = max(1, round(n_steps * (RISE if schedule == "one_cycle" else WARM_UP)))
    if step < rise:
        low = CYCLE_START if schedule == "one_cycle" else 0.0
        return 1.0 - (1.0 - low) * (rise - step - 1) / rise
    if schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - rise + 1) / (n_steps - rise + 1)))


class GenreClassifier(pl.LightningModule):
    """An architecture's network between standardisation and a loss.

    It takes features as they are, of shape (batch, n_channels, n_bins, n_frames): mean and
    deviation of the training rows are buffers, so that they are saved and loaded with its weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        architecture: str,
        config: Any,
        train_config: TrainConfig,
        input_shape: InputShape,
        n_classes: int,
        statistics: tuple[Tensor, Tensor] | None = None,
        seed: int = 0,
    ) -> None:
        """Builds the network; the caller has seeded torch.

        Args:
            architecture: a file name in `lightning_models.architectures`.
            config: that architecture's `Config`.
            train_config: how it will be, or was, trained.
            input_shape: (n_channels, n_bins, n_frames) of a training crop.
            n_classes: how many logits.
            statistics: mean and deviation (n_channels * n_bins,) of the training rows; none when
                they are about to be loaded.
            seed: of the augmentation.

        Raises:
            UserError: no such architecture, or the input is too small for it.
        """
        super().__init__()
        self.architecture = architecture
        self.config = config
        self.train_config = train_config
        self.input_shape = input_shape
        self.n_classes = n_classes
        self.seed = seed
        n_channels, n_bins, _ = input_shape
        size = n_channels * n_bins
        mean, std = statistics or (torch.zeros(size), torch.ones(size))
        self.register_buffer("mean", mean.view(n_channels, n_bins, 1).clone())
        self.register_buffer("std", std.view(n_channels, n_bins, 1).clone())
        plugin = plugins.load(architectures, architecture, kind="architecture")
        network = plugin.build(config, input_shape, n_classes)
        # convolutions are twice as fast with channels last; nothing else has four dimensions
        self.network = network.to(memory_format=torch.channels_last)
        self._rng = np.random.default_rng(seed)
        self._losses: list[Tensor] = []
        self._n_steps = 1

    def forward(self, x: Tensor) -> Tensor:
        """Features (batch, n_channels, n_bins, n_frames) -> logits (batch, n_classes), float32."""
        return self.judge(x)[0]

    def judge(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features (batch, n_channels, n_bins, n_frames) -> logits and embedding.

        Both, (batch, n_classes) and (batch, width), are float32 and come from one pass.
        """
        with self._autocast():
            embedding = self.network.embed((x - self.mean) / self.std)
            logits = self.network.head(embedding)
        return logits.float(), embedding.float()

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """The loss of a batch: features (batch, n_channels, n_bins, n_frames), labels (batch,)."""
        x, labels = batch
        settings = self.train_config
        x = (x - self.mean) / self.std
        if settings.n_masks:
            shares = (settings.bin_mask, settings.frame_mask)
            x = spec_augment(x, n_masks=settings.n_masks, shares=shares, rng=self._rng)
        if settings.mixup_alpha:
            x, keep, shift = mixup(x, alpha=settings.mixup_alpha, rng=self._rng)
        with self._autocast():
            logits = self.network(x)
        logits = logits.float()
        smoothing = settings.label_smoothing
        if settings.mixup_alpha:
            own = F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")
            other = F.cross_entropy(
                logits, labels.roll(shift), label_smoothing=smoothing, reduction="none"
            )
            loss = torch.lerp(other, own, keep).mean()
        else:
            loss = F.cross_entropy(logits, labels, label_smoothing=smoothing)
        self._losses.append(loss.detach())
        return loss

    def on_train_epoch_start(self) -> None:
        """Seeds dropout and augmentation by seed and epoch alone, so that resuming is exact."""
        self._losses.clear()
        self._rng = np.random.default_rng([self.seed, self.current_epoch, 1])
        speed.seed_torch(int(self._rng.integers(2**63)), self.device)

    def epoch_loss(self) -> float:
        """The mean training loss of this epoch.

        Raises:
            Diverged: it is not finite.
        """
        loss = float(torch.stack(self._losses).mean())
        if not math.isfinite(loss):
            raise Diverged(f"diverged: loss is {loss} at epoch {self.current_epoch + 1}")
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimizer of the training config; `on_before_optimizer_step` moves its rate."""
        settings = self.train_config
        decayed = [p for p in self.parameters() if p.ndim >= 2]
        others = [p for p in self.parameters() if p.ndim < 2]  # biases and norms
        groups = [
            {"params": decayed, "weight_decay": settings.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        groups = [group for group in groups if group["params"]]
        if settings.optimizer == "sgd":
            momentum = settings.momentum
            return torch.optim.SGD(
                groups, settings.sgd_lr, momentum=momentum, nesterov=momentum > 0, fused=True
            )
        rule = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
        return rule(groups, settings.lr, fused=True)

    def on_train_start(self) -> None:
        """Learns how many steps there will be."""
        self._n_steps = int(self.trainer.estimated_stepping_batches)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Sets the learning rate of this step, which depends on its number alone."""
        settings = self.train_config
        height = settings.sgd_lr if settings.optimizer == "sgd" else settings.lr
        factor = lr_factor(
            self.trainer.global_step, n_steps=self._n_steps, schedule=settings.schedule
        )
        for group in optimizer.param_groups:
            group["lr"] = height * factor

    def _autocast(self) -> torch.autocast:
        kind = self.device.type
        dtype = speed.precision(kind)
        return torch.autocast(kind, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)
