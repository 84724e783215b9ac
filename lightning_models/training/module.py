"""The LightningModule of every architecture: standardization, augmentation, loss, optimizer.

`fit.train_network` trains it by a `train_config.TrainConfig`; `callbacks.EpochEnd` validates it
after each epoch.
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

from chorale.datasets.seeds import Purpose, random_generator
from chorale.lightning_models import dropout
from chorale.lightning_models.augment import mixup, spec_augment
from chorale.lightning_models.base import InputShape, load_architecture
from chorale.lightning_models.train_config import TrainConfig
from chorale.lightning_models.training import optimizers, speed
from chorale.lightning_models.training.classifier import Classifier
from chorale.lightning_models.training.ema import Ema
from chorale.lightning_models.training.known_labels import known_cross_entropy, known_weights
from chorale.lightning_models.training.ranks import SINGLE_PROCESS
from chorale.lightning_models.training.schedule import Plateau, lr_factor

Blend = tuple[Tensor, Tensor]
"""Mixup's labels: those of the other crops, and the weight (batch,) of each crop itself. Labels are
indices (batch,), or soft or multi-label targets (batch, n_classes)."""


class Diverged(Exception):  # noqa: N818 - the outcome of a trial
    """The training diverged: a loss is not finite, or huge. The text says which and when."""


class GenreClassifier(Classifier, pl.LightningModule):
    """A classifier in training: with a loss, an optimizer and a learning rate schedule.

    `class_weights` (n_classes,), if set before training, weighs each class in the loss; its mean
    over the training rows is 1. Where multi-label it weighs the presence of each label, and
    `has_unknown`, set before training, says whether labels of training rows are `UNKNOWN`. `ema` is
    set during training if the config asks for it. `n_slices` is the number of micro-batches that a
    batch is split into (gradient accumulation), `ranks` the rank of this process in data-parallel
    training; both are set before training.
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
        multi_label: bool = False,
        seed: int = 0,
    ) -> None:
        """Builds the network; the caller has seeded torch.

        Args:
            architecture: a file name in `lightning_models.architectures`.
            config: that architecture's `Config`.
            train_config: how it will be, or was, trained.
            input_shape: (n_channels, n_bins, n_frames) of a training crop.
            n_classes: how many logits.
            statistics: mean and standard deviation (n_channels * n_bins,) of the training rows;
                None where they will be loaded with the weights.
            multi_label: as `Classifier`.
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
            multi_label=multi_label,
        )
        self.seed = seed
        if train_config.compile:
            self._compiled = torch.compile(self.network.forward)
        self.class_weights: Tensor | None = None
        self.has_unknown = False
        self.n_slices = 1
        self.ranks = SINGLE_PROCESS
        self.ema: Ema | None = None
        self.plateau = Plateau.of(train_config.max_epochs)
        self._rng = random_generator(seed, Purpose.EPOCH)
        self._losses: list[Tensor] = []
        self._n_steps = 1

    @property
    def first_scored_epoch(self) -> int:
        """The first epoch (counted from 1) that trains the classifier: patience starts there."""
        return 1

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """The loss of a batch: features (batch, n_channels, n_bins, n_frames), labels.

        Labels are class indices (batch,), or soft or multi-label targets (batch, n_classes).
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
        """Computes this process's share of the batch loss, one micro-batch at a time.

        Accumulates the gradients of all micro-batches but the last, whose loss it returns.
        """
        self.network.zero_grad()
        # batch norm needs two rows; all processes take the same number of slices, to stay in step
        n_slices = max(1, min(self.n_slices, len(x) // self.ranks.size // 2))
        mine = np.arange(len(x))[self.ranks.shard(len(x))]
        losses: list[Tensor] = []
        n_terms = self._n_terms(labels, blend)
        for part in np.array_split(mine, n_slices):
            if losses:
                torch.autograd.backward(losses[-1])  # before the next slice needs the memory
                losses[-1] = losses[-1].detach()
            rows = slice(part[0], part[-1] + 1)
            blended = (blend[0][rows], blend[1][rows]) if blend is not None else None
            share = self._n_terms(labels[rows], blended) / n_terms
            losses.append(self.loss(x[rows], labels[rows], blended) * share)
        self._losses.append(torch.stack([loss.detach() for loss in losses]).sum())
        return losses[-1]

    def optimizer_zero_grad(
        self, epoch: int, batch_idx: int, optimizer: torch.optim.Optimizer
    ) -> None:
        """Lightning calls it between loss and gradient; accumulated gradients must be kept."""
        del epoch, batch_idx
        if self.n_slices == 1 and self.ranks.size == 1:
            for group in optimizer.param_groups:  # like `zero_grad`, without its profiler record
                for parameter in group["params"]:
                    parameter.grad = None

    def loss(self, x: Tensor, labels: Tensor, blend: Blend | None) -> Tensor:
        """The loss that a step minimizes; a subclass may minimize another.

        Args:
            x: (batch, n_channels, n_bins, n_frames), standardized and augmented.
            labels: class indices (batch,), or soft targets (batch, n_classes).
            blend: the other labels and weights of mixup, if it was applied to `x`.
        """
        with self.autocast():
            logits = (self._compiled or self.network)(x)
        return self.classification_loss(logits.float(), labels, blend)

    def classification_loss(self, logits: Tensor, labels: Tensor, blend: Blend | None) -> Tensor:
        """Cross-entropy with label smoothing, class weights and mixup: the mean over the batch.

        A class's weight is multiplied by its share of the label, be that by smoothing or by mixup.
        Where multi-label it is the binary cross-entropy, and the mean over known labels, too.
        """
        if self.multi_label:
            return self._binary_cross_entropy(logits, labels, blend)
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

    def _binary_cross_entropy(self, logits: Tensor, labels: Tensor, blend: Blend | None) -> Tensor:
        """Of targets (batch, n_classes); mixup and smoothing act on these."""
        if self.has_unknown:
            return known_cross_entropy(
                logits,
                labels,
                blend,
                class_weights=self.class_weights,
                smoothing=self.train_config.label_smoothing,
            )
        targets = labels.to(logits.dtype)
        if blend is not None:
            others, keep = blend
            targets = torch.lerp(others.to(logits.dtype), targets, keep.unsqueeze(1))
        if smoothing := self.train_config.label_smoothing:
            targets = torch.lerp(targets, torch.full_like(targets, 0.5), smoothing)
        return F.binary_cross_entropy_with_logits(logits, targets, pos_weight=self.class_weights)

    def _n_terms(self, labels: Tensor, blend: Blend | None) -> float | Tensor:
        """What the loss of these rows is a mean over: rows, or weights of known labels."""
        if not self.has_unknown:
            return len(labels)
        return known_weights(labels, blend).sum().clamp(min=torch.finfo(torch.float32).tiny)

    def begin_training(self, n_steps: int) -> None:
        """Prepares a training of `n_steps` steps; the module is on its final device."""
        self._n_steps = n_steps
        if self.class_weights is not None:
            self.class_weights = self.class_weights.to(self.device)
        if self.train_config.ema_decay:
            self.ema = Ema(self.network, self.train_config.ema_decay)

    def on_train_epoch_start(self) -> None:
        """Seeds dropout and augmentation by seed and epoch alone, so that resuming is exact."""
        self._losses.clear()
        dropout.discard_drawn(self.network)
        self._rng = random_generator(self.seed, Purpose.EPOCH, self.current_epoch)
        seed = int(self._rng.integers(2**63))
        speed.seed_torch((seed + self.ranks.rank) % 2**63, self.device)  # dropout differs by rank

    def epoch_loss(self) -> float:
        """The mean training loss of this epoch.

        Raises:
            Diverged: it is not finite.
        """
        loss = float(self.ranks.all_reduce(torch.stack(self._losses).mean()))
        if not math.isfinite(loss):
            raise Diverged(f"diverged: loss is {loss} at epoch {self.current_epoch + 1}")
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimizer of the training config; `on_before_optimizer_step` sets its rate."""
        return optimizers.build_optimizer(self.network, self.train_config)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Sets the learning rate of this step from the schedule and the plateau's factor."""
        settings = self.train_config
        factor = self.plateau.factor * lr_factor(
            self.trainer.global_step,
            n_steps=self._n_steps,
            schedule=settings.schedule,
            warm_up=settings.warm_up,
        )
        optimizers.set_lr(optimizer, optimizers.base_lr(settings) * factor)

    def on_train_batch_end(self, *_: object) -> None:
        """Updates the EMA of the weights, if there is one."""
        if self.ema is not None:
            self.ema.update()

    @contextmanager
    def evaluation_weights(self) -> Iterator[None]:
        """Within the block the module has the weights to evaluate: those of the EMA, if any."""
        if self.ema is None:
            yield
        else:
            with self.ema.applied():
                yield


def classifier_class(architecture: str) -> type[GenreClassifier]:
    """The LightningModule of an architecture: its own where it has one.

    Raises:
        UserError: no such architecture.
    """
    plugin = load_architecture(architecture)
    module_class: Callable[[], type[GenreClassifier]] | None
    module_class = getattr(plugin, "module_class", None)
    return GenreClassifier if module_class is None else module_class()
