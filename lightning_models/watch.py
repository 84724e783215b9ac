"""What happens after each epoch of a training: validate, keep the best weights, log, stop.

`fit.train` hangs it into Lightning's Trainer and reads off it what was kept.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor

from lightning_models import metrics
from lightning_models.datamodule import FoldData
from lightning_models.module import Diverged, GenreClassifier
from lightning_models.predict import predict

OnEpoch = Callable[[int, Mapping[str, float]], bool]
"""Told of each epoch (counted from 1) and its validation metrics; returns True to stop there."""

OBJECTIVES: Mapping[str, float] = {"accuracy": 1.0, "macro_f1": 1.0, "log_loss": -1.0}
"""What the best epoch may be chosen by, and the sign that makes more of it better."""


@dataclass(eq=False)
class Kept:
    """The epoch whose weights are kept."""

    epoch: int = 0
    score: tuple[float, float] = (-math.inf, -math.inf)
    metrics: Mapping[str, float] = field(default_factory=dict)
    proba: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    weights: Mapping[str, Tensor] = field(default_factory=dict)


class Watch(pl.Callback):
    """Validates after each epoch, keeps the best weights, logs, and stops when told to."""

    def __init__(
        self,
        data: FoldData,
        *,
        keep: Literal["best", "last"],
        objective: str,
        on_epoch: OnEpoch,
        logger: TensorBoardLogger | None,
    ) -> None:
        self.data = data
        self.keep = keep
        self.objective = objective
        self.on_epoch = on_epoch
        self.logger = logger
        self.kept = Kept()
        self.epoch = 0
        self.stopped = False
        self.interrupted = False
        self.train_s = 0.0
        self.valid_s = 0.0
        self._started_s = 0.0

    def on_train_epoch_start(self, *_: object) -> None:
        self._started_s = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        module = pl_module
        if not isinstance(module, GenreClassifier):
            raise TypeError(f"a GenreClassifier is watched, but got {type(module).__name__}")
        self.epoch = epoch = trainer.current_epoch + 1
        loss = module.epoch_loss()  # waits for the GPU, so that the clock is right
        trained_s = time.perf_counter()
        self.train_s += trained_s - self._started_s
        rows = self.data.valid_rows
        proba = predict(module, self.data, rows).proba
        scores = self._scores(proba, epoch)
        self.valid_s += time.perf_counter() - trained_s
        if self.logger is not None:
            lr = trainer.optimizers[0].param_groups[0]["lr"]
            valid = {f"valid/{'loss' if k == 'log_loss' else k}": v for k, v in scores.items()}
            self.logger.log_metrics({"train/loss": loss, **valid, "lr": lr}, step=epoch)
        self._choose(module, epoch, scores, proba)
        self.stopped = self.on_epoch(epoch, scores)
        patience = module.train_config.patience
        tired = patience is not None and epoch - self.kept.epoch >= patience
        trainer.should_stop = self.stopped or tired

    def on_exception(self, *args: object) -> None:
        self.interrupted = isinstance(args[-1], KeyboardInterrupt)

    def _scores(self, proba: NDArray[np.float32], epoch: int) -> dict[str, float]:
        labels = self.data.labels[self.data.valid_rows]
        loss = metrics.log_loss(proba, labels)
        if not math.isfinite(loss):
            raise Diverged(f"diverged: validation loss is {loss} at epoch {epoch}")
        return {
            "accuracy": metrics.accuracy(proba, labels),
            "macro_f1": metrics.macro_f1(proba, labels),
            "log_loss": loss,
        }

    def _choose(
        self,
        module: GenreClassifier,
        epoch: int,
        scores: Mapping[str, float],
        proba: NDArray[np.float32],
    ) -> None:
        score = (OBJECTIVES[self.objective] * scores[self.objective], -scores["log_loss"])
        if self.keep == "last":
            self.kept = Kept(epoch, score, scores, proba)
        elif score > self.kept.score:
            weights = {name: value.clone() for name, value in module.state_dict().items()}
            self.kept = Kept(epoch, score, scores, proba, weights)
