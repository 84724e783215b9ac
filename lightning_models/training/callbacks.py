"""The end-of-epoch callback: validation, best weights, TensorBoard scalars, early stopping.

`fit.train_network` adds it to Lightning's Trainer and reads the kept epoch from it; `resume` saves
its state.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from torch import Tensor

from chorale.datasets.disk import skip_if_unwritable
from chorale.lightning_models import metrics
from chorale.lightning_models.data.batches import TrainBatches
from chorale.lightning_models.data.datamodule import FoldData
from chorale.lightning_models.multi_label_metrics import (
    DEFAULT_THRESHOLD,
    lwlrap,
    macro_label_f1,
    mean_average_precision,
)
from chorale.lightning_models.training import optimizers
from chorale.lightning_models.training.events import EventFile
from chorale.lightning_models.training.module import Diverged, GenreClassifier
from chorale.lightning_models.training.predict import Evaluator

OnEpoch = Callable[[int, Mapping[str, float]], bool]
"""Called with each epoch (counted from 1) and its validation metrics; returns True to stop."""

OBJECTIVES: Mapping[str, float] = {
    "accuracy": 1.0, "macro_f1": 1.0, "log_loss": -1.0, "mAP": 1.0, "lwlrap": 1.0,
}  # fmt: skip
"""Objective by which the best epoch is chosen -> the sign that makes higher better."""

ONE_CLASS_OBJECTIVES = ("accuracy", "macro_f1", "log_loss")
"""Objectives where each track has one class."""

MULTI_LABEL_OBJECTIVES = ("mAP", "lwlrap", "macro_f1", "log_loss")
"""Objectives where a track may have several labels."""

EXPLOSION_FACTOR = 20.0
"""An exploded loss is this many times that of the first epoch."""

CHANCE_LOSS_FACTOR = 10.0
"""An exploded loss is also this many times the loss at chance level, ln(n_classes), or ln(2) where
multi-label, which no network that still learns has. Both must hold: a first epoch may have an
unusually low loss, or a high one from which the training recovers."""


def has_exploded(loss: float, *, first: float, n_classes: int) -> bool:
    """Whether an epoch's mean loss is far above the first epoch's and far above chance level.

    Args:
        loss: of the epoch.
        first: of the first epoch.
        n_classes: determines the loss at chance level.
    """
    return loss > EXPLOSION_FACTOR * first and loss > CHANCE_LOSS_FACTOR * math.log(n_classes)


@dataclass(eq=False)
class KeptEpoch:
    """The epoch whose weights are kept; `weights` is empty where those are the module's last."""

    epoch: int = 0
    score: tuple[float, float] = (-math.inf, -math.inf)
    metrics: Mapping[str, float] = field(default_factory=dict)
    proba: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    weights: Mapping[str, Tensor] = field(default_factory=dict)


class EpochEnd(pl.Callback):
    """Validates after each epoch, keeps the best weights, logs, and stops the training.

    `history` has a row for each epoch: its number, training loss, learning rate and metrics.
    """

    def __init__(
        self,
        data: FoldData,
        batches: TrainBatches,
        *,
        keep: Literal["best", "last"],
        objective: str,
        on_epoch: OnEpoch,
        curves: EventFile | None,
    ) -> None:
        self.data = data
        self.batches = batches
        self.keep = keep
        self.objective = objective
        self.on_epoch = on_epoch
        self.curves = curves
        self.left_out: list[str] = []
        """what a full disk left unwritten, on which nothing depends"""
        self.kept = KeptEpoch()
        self.epoch = 0
        self.history: list[dict[str, float]] = []
        self.stopped = False
        self.train_s = 0.0
        self.valid_s = 0.0
        self._started_s = 0.0
        self._evaluator: Evaluator | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if isinstance(pl_module, GenreClassifier):
            pl_module.begin_training(n_steps=len(self.batches) * (trainer.max_epochs or 1))

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: object) -> None:
        self._started_s = time.perf_counter()
        self.batches.epoch = trainer.current_epoch  # its order and crops depend on this alone

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        module = pl_module
        if not isinstance(module, GenreClassifier):
            raise TypeError(f"EpochEnd needs a GenreClassifier, but got {type(module).__name__}")
        self.epoch = epoch = trainer.current_epoch + 1
        loss = module.epoch_loss()  # synchronizes with the GPU, so that the time is right
        first = self.history[0]["train_loss"] if self.history else loss
        n_choices = 2 if self.data.multi_label else self.data.n_classes
        if has_exploded(loss, first=first, n_classes=n_choices):
            raise Diverged(
                f"diverged: loss exploded to {loss:.3g} at epoch {epoch}; it was {first:.3g} at "
                f"epoch 1"
            )
        trained_s = time.perf_counter()
        self.train_s += trained_s - self._started_s
        with module.evaluation_weights():
            proba = self._valid_proba(module)
            scores = self._scores(proba, epoch)
            self._keep(module, epoch, scores, proba)
        self.valid_s += time.perf_counter() - trained_s
        lr = optimizers.current_lr(trainer.optimizers[0])
        if module.train_config.schedule == "plateau":
            # where the last weights are kept, they must not depend on validation rows
            module.plateau.update(scores["log_loss"] if self.keep == "best" else loss)
        self._log(epoch, loss, lr, scores)
        self.stopped = self.on_epoch(epoch, scores)
        patience = module.train_config.patience
        since = epoch - max(self.kept.epoch, module.first_scored_epoch - 1)
        trainer.should_stop = self.stopped or (patience is not None and since >= patience)

    def _valid_proba(self, module: GenreClassifier) -> NDArray[np.float32]:
        """The predictions for the validation rows; each process computes a share."""
        rows, ranks = self.data.valid_rows, module.ranks
        mine = rows[ranks.shard(len(rows))]
        proba = np.empty((0, module.n_classes), np.float32)
        if len(mine):
            if self._evaluator is None:
                self._evaluator = Evaluator(module, self.data, mine)
            proba = self._evaluator.predict().proba
        return ranks.all_gather(proba, len(rows), device=module.device)

    def _scores(self, proba: NDArray[np.float32], epoch: int) -> dict[str, float]:
        labels = self.data.labels[self.data.valid_rows]
        loss = metrics.log_loss(proba, labels)
        if not math.isfinite(loss):
            raise Diverged(f"diverged: validation loss is {loss} at epoch {epoch}")
        if self.data.multi_label:
            return {
                "mAP": mean_average_precision(proba, labels),
                "lwlrap": lwlrap(proba, labels),
                "macro_f1": macro_label_f1(proba >= DEFAULT_THRESHOLD, labels),
                "log_loss": loss,
            }
        return {
            "accuracy": metrics.accuracy(proba, labels),
            "macro_f1": metrics.macro_f1(proba, labels),
            "log_loss": loss,
        }

    def _keep(
        self,
        module: GenreClassifier,
        epoch: int,
        scores: Mapping[str, float],
        proba: NDArray[np.float32],
    ) -> None:
        score = (OBJECTIVES[self.objective] * scores[self.objective], -scores["log_loss"])
        if self.keep == "best" and score <= self.kept.score:
            return
        weights: dict[str, Tensor] = {}
        if self.keep == "best" or module.ema is not None:
            weights = {name: value.clone() for name, value in module.state_dict().items()}
        self.kept = KeptEpoch(epoch, score, scores, proba, weights)

    def _log(self, epoch: int, loss: float, lr: float, scores: Mapping[str, float]) -> None:
        self.history.append({"epoch": epoch, "train_loss": loss, "lr": lr, **scores})
        if self.curves is None:
            return
        valid = {f"valid/{'loss' if k == 'log_loss' else k}": v for k, v in scores.items()}
        n_before = len(self.left_out)
        with skip_if_unwritable("TensorBoard's curves", self.left_out):
            self.curves.scalars({"train/loss": loss, **valid, "lr": lr}, step=epoch)
        if len(self.left_out) > n_before:
            self.curves = None  # a gap in a curve would not be visible
