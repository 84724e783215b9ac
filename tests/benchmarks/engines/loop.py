"""The usual Lightning training loop: a module, DataLoaders, a Trainer; with defaults or tuned.

The Ray and Optuna arms both use it; they differ in their callbacks.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler
from torch.utils.data import TensorDataset as Rows

from chorale.search.config.space import Candidate
from tests.benchmarks.engines.events import Events
from tests.benchmarks.engines.task import FIXED, Arrays, Task, build

ACCURACY = "accuracy"


class Classifier(pl.LightningModule):
    """The LightningModule of every tutorial."""

    def __init__(self, network: nn.Module, train: dict[str, Any], *, tuned: bool) -> None:
        super().__init__()
        self.network, self.train_values, self.tuned = network, train, tuned

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        loss = F.cross_entropy(self.network(x), y)
        if not self.tuned:
            self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        x, y = batch
        logits = self.network(x)
        self.log(ACCURACY, (logits.argmax(dim=1) == y).float().mean())
        if not self.tuned:
            self.log("valid_loss", F.cross_entropy(logits, y))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        classes: dict[str, Any] = {
            "adam": torch.optim.Adam,
            "adamw": torch.optim.AdamW,
            "rmsprop": torch.optim.RMSprop,
        }
        optimizer: torch.optim.Optimizer = classes[self.train_values["optimizer"]](
            self.parameters(), lr=self.train_values["lr"], weight_decay=FIXED["weight_decay"]
        )
        return optimizer


class Clock(pl.Callback):
    """Times training and validation, and records each epoch; it must be the first callback."""

    def __init__(self, events: Events, trial: object) -> None:
        self.events, self.trial = events, trial
        self.steps_s = 0.0
        self._began_s = 0.0

    def on_train_epoch_start(self, *_: object) -> None:
        self._began_s = time.perf_counter()

    def on_validation_end(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.sanity_checking:
            return
        self.steps_s += time.perf_counter() - self._began_s
        accuracy = float(trainer.callback_metrics[ACCURACY])
        self.events.record(self.trial, "epoch", steps_s=self.steps_s, accuracy=accuracy)


def fit(
    task: Task,
    candidate: Candidate,
    data: Arrays,
    *,
    clock: Clock,
    callbacks: Sequence[pl.Callback],
    tuned: bool,
    quiet: bool = False,
) -> float:
    """Trains one trial; returns its last accuracy.

    Args:
        clock: the first callback.
        callbacks: the others.
        tuned: no logger, checkpoints, progress bar or sanity check; batches indexed, not collated.
        quiet: without progress bar, as in Ray's examples.
    """
    batch_size = int(candidate.train["batch_size"])
    train, valid = (
        _loader(x, y, batch_size, shuffle=shuffle, tuned=tuned)
        for x, y, shuffle in (
            (data.x_train, data.y_train, True),
            (data.x_valid, data.y_valid, False),
        )
    )
    module = Classifier(build(task, candidate, data), dict(candidate.train), tuned=tuned)
    options: dict[str, Any] = {"default_root_dir": task.folder}
    if quiet:
        options["enable_progress_bar"] = False
    if tuned:
        options = {
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
        }
    trainer = pl.Trainer(
        max_epochs=task.epochs, accelerator="cpu", callbacks=[clock, *callbacks], **options
    )
    trainer.fit(module, train, valid)
    return float(trainer.callback_metrics[ACCURACY])


def _loader(x: Any, y: Any, batch_size: int, *, shuffle: bool, tuned: bool) -> Iterable[Any]:
    rows = Rows(torch.as_tensor(x), torch.as_tensor(y))
    if not tuned:
        return DataLoader(rows, batch_size=batch_size, shuffle=shuffle)
    order = RandomSampler(rows) if shuffle else SequentialSampler(rows)
    batches: Iterator[list[int]] | BatchSampler = BatchSampler(order, batch_size, drop_last=False)
    return DataLoader(rows, sampler=batches, batch_size=None)
