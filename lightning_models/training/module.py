"""One LightningModule for every architecture: standardise, augment, train, judge.

`fit.train` drives it, by a `train_config.TrainConfig`; `watch` looks on after each epoch.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from chorale.datasets.seeds import Purpose, generator
from chorale.lightning_models import dropout
from chorale.lightning_models.augment import mixup, spec_augment
from chorale.lightning_models.base import InputShape, load_architecture
from chorale.lightning_models.train_config import TrainConfig
from chorale.lightning_models.training import optimizers, speed
from chorale.lightning_models.training.classifier import Classifier
from chorale.lightning_models.training.ema import Average
from chorale.lightning_models.training.ranks import ALONE
from chorale.lightning_models.training.schedule import Plateau, lr_factor

Blend = tuple[Tensor, Tensor]
"""What mixup blended in: the other labels, and the share (batch,) that each crop kept. Labels are
indices (batch,), or targets (batch, n_classes): shares of the classes."""


class Diverged(Exception):  # noqa: N818 - it is what happened to a trial
    """The training ran away: a loss is not finite, or huge. The text says which and when."""


class GenreClassifier(Classifier, pl.LightningModule):
    """A classifier that is trained: with a loss, an optimizer and a schedule.

    `class_weights` (n_classes,), if set before training, weighs each class in the loss; its mean
    over the training rows is 1. `average` and `plateau` exist while they are asked for.
    `n_slices`, if set before training, is in how many parts a step takes its batch; `ranks` which
    process of how many it trains in.
    """

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
        super().__init__(
            architecture=architecture,
            config=config,
            train_config=train_config,
            input_shape=input_shape,
            n_classes=n_classes,
            statistics=statistics,
        )
        self.seed = seed
        if train_config.compile:
            self._compiled = torch.compile(self.network.forward)
        self.class_weights: Tensor | None = None
        self.n_slices = 1
        self.ranks = ALONE
        self.average: Average | None = None
        self.plateau = Plateau.of(train_config.max_epochs)
        self._rng = generator(seed, Purpose.EPOCH)
        self._losses: list[Tensor] = []
        self._n_steps = 1

    @property
    def first_epoch_that_counts(self) -> int:
        """The first epoch (counted from 1) that trains what is judged: patience waits for it."""
        return 1

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """The loss of a batch: features (batch, n_channels, n_bins, n_frames), labels.

        Labels are class indices (batch,), or targets (batch, n_classes).
        """
        x, labels = batch
        settings = self.train_config
        x = (x - self.mean) / self.std
        if settings.n_masks:
            shares = (settings.bin_mask, settings.frame_mask)
            x = spec_augment(x, n_masks=settings.n_masks, shares=shares, rng=self._rng)
        blend: Blend | None = None
        if settings.mixup_alpha:
            x, keep, shift = mixup(x, alpha=settings.mixup_alpha, rng=self._rng)
            blend = labels.roll(shift, dims=0), keep
        if self.n_slices > 1 or self.ranks.size > 1:
            return self._partial_loss(x, labels, blend)
        loss = self.loss(x, labels, blend)
        self._losses.append(loss.detach())
        return loss

    def _partial_loss(self, x: Tensor, labels: Tensor, blend: Blend | None) -> Tensor:
        """The loss of this process's rows, slice by slice, as their share of the whole batch's.

        Adds up the gradients of all slices but the last, whose part of the loss it returns.
        """
        self.network.zero_grad()
        # batch norm needs two rows; as many slices in each process, so that they stay in step
        n_slices = max(1, min(self.n_slices, len(x) // self.ranks.size // 2))
        mine = np.arange(len(x))[self.ranks.share(len(x))]
        losses: list[Tensor] = []
        for part in np.array_split(mine, n_slices):
            if losses:
                torch.autograd.backward(losses[-1])  # before the next slice needs the memory
                losses[-1] = losses[-1].detach()
            rows = slice(part[0], part[-1] + 1)
            blended = (blend[0][rows], blend[1][rows]) if blend is not None else None
            share = len(part) / len(x)
            losses.append(self.loss(x[rows], labels[rows], blended) * share)
        self._losses.append(torch.stack([loss.detach() for loss in losses]).sum())
        return losses[-1]

    def optimizer_zero_grad(
        self, epoch: int, batch_idx: int, optimizer: torch.optim.Optimizer
    ) -> None:
        """Lightning calls it between a step's loss and its gradient; slices have added some."""
        del epoch, batch_idx
        if self.n_slices == 1 and self.ranks.size == 1:
            for group in optimizer.param_groups:  # as `zero_grad` does, without asking a profiler
                for parameter in group["params"]:
                    parameter.grad = None

    def loss(self, x: Tensor, labels: Tensor, blend: Blend | None) -> Tensor:
        """What a step minimises; a subclass may minimise something else.

        Args:
            x: (batch, n_channels, n_bins, n_frames), standardised and augmented.
            labels: class indices (batch,), or targets (batch, n_classes).
            blend: what mixup did to `x`, if it did.
        """
        with self.autocast():
            logits = (self._compiled or self.network)(x)
        return self.classification_loss(logits.float(), labels, blend)

    def classification_loss(self, logits: Tensor, labels: Tensor, blend: Blend | None) -> Tensor:
        """Cross-entropy with smoothed, weighted and blended labels: the mean over the batch.

        A class's weight goes with its share of the label, be that by smoothing or by mixup.
        """
        if blend is None and self.class_weights is None:  # the same, in one call
            smoothing = self.train_config.label_smoothing
            return F.cross_entropy(logits, labels, label_smoothing=smoothing)
        own = self._cross_entropy(logits, labels)
        if blend is not None:
            others, keep = blend
            own = torch.lerp(self._cross_entropy(logits, others), own, keep)
        return own.mean()

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(
            logits,
            labels,
            weight=self.class_weights,
            label_smoothing=self.train_config.label_smoothing,
            reduction="none",  # the mean that torch takes would undo the weights, batch by batch
        )

    def start(self, n_steps: int) -> None:
        """Makes ready for a training of so many steps; the weights are where they will stay."""
        self._n_steps = n_steps
        if self.class_weights is not None:
            self.class_weights = self.class_weights.to(self.device)
        if self.train_config.ema_decay:
            self.average = Average(self.network, self.train_config.ema_decay)

    def on_train_epoch_start(self) -> None:
        """Seeds dropout and augmentation by seed and epoch alone, so that resuming is exact."""
        self._losses.clear()
        dropout.forget(self.network)
        self._rng = generator(self.seed, Purpose.EPOCH, self.current_epoch)
        seed = int(self._rng.integers(2**63))
        speed.seed_torch((seed + self.ranks.rank) % 2**63, self.device)  # each drops its own

    def epoch_loss(self) -> float:
        """The mean training loss of this epoch.

        Raises:
            Diverged: it is not finite.
        """
        loss = float(self.ranks.sum(torch.stack(self._losses).mean()))
        if not math.isfinite(loss):
            raise Diverged(f"diverged: loss is {loss} at epoch {self.current_epoch + 1}")
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimizer of the training config; `on_before_optimizer_step` moves its rate."""
        return optimizers.build(self.network, self.train_config)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Sets the learning rate of this step: by its number, and a plateau's factor."""
        settings = self.train_config
        factor = self.plateau.factor * lr_factor(
            self.trainer.global_step,
            n_steps=self._n_steps,
            schedule=settings.schedule,
            warm_up=settings.warm_up,
        )
        optimizers.set_lr(optimizer, optimizers.full_lr(settings) * factor)

    def on_train_batch_end(self, *_: object) -> None:
        """Takes the step's weights into their running average, where there is one."""
        if self.average is not None:
            self.average.update()

    @contextmanager
    def as_judged(self) -> Iterator[None]:
        """Within the block the module has the weights that count: averaged ones, if asked for."""
        if self.average is None:
            yield
        else:
            with self.average.shown():
                yield


def classifier_class(architecture: str) -> type[GenreClassifier]:
    """The LightningModule of an architecture: its own where it offers one.

    Raises:
        UserError: no such architecture.
    """
    plugin = load_architecture(architecture)
    module_class: Callable[[], type[GenreClassifier]] | None
    module_class = getattr(plugin, "module_class", None)
    return GenreClassifier if module_class is None else module_class()
