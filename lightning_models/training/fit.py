"""Trains one network on one fold, and asks a trained one for its judgement.

`search.training.run_trial` calls it once for a trial, `search` again for each fold of a finalist.
"""

import signal
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from chorale.datasets.errors import UserError, unknown
from chorale.datasets.seeds import Purpose, seed_of
from chorale.lightning_models import metrics
from chorale.lightning_models.data.batches import TrainBatches
from chorale.lightning_models.data.datamodule import FoldData
from chorale.lightning_models.train_config import TrainConfig
from chorale.lightning_models.training import speed, sync_batch_norm
from chorale.lightning_models.training.callbacks import OBJECTIVES, OnEpoch, Watch
from chorale.lightning_models.training.events import EventFile
from chorale.lightning_models.training.module import GenreClassifier, classifier_class
from chorale.lightning_models.training.predict import Prediction, predict
from chorale.lightning_models.training.ranks import ALONE, Ranks
from chorale.lightning_models.training.resume import Resumer, described, digest
from chorale.lightning_models.training.trainer import LeanTrainer

__all__ = ["Prediction", "Trained", "predict", "train"]


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network.

    `epoch` (counted from 1), `metrics`, `proba` (n_valid, n_classes) and `per_class` (n_classes,),
    the accuracy of each class (NaN where no row has it), are those of the weights that were kept;
    `history` has a row for each epoch, those before a resume too; `resumed_after` is how many of
    them those are. `stopped` says that `on_epoch` ended the training; `train_s` are the seconds
    spent in training steps, `valid_s` those spent in judging the validation rows. `left_out` says
    what was not written for want of room: curves, or a state to resume from.
    """

    module: GenreClassifier
    epoch: int
    stopped: bool
    metrics: Mapping[str, float]
    per_class: NDArray[np.float64]
    history: Sequence[Mapping[str, float]]
    proba: NDArray[np.float32]
    n_parameters: int
    train_s: float
    valid_s: float
    resumed_after: int
    left_out: Sequence[str] = ()


def train(
    *,
    architecture: str,
    config: Any,
    train_config: TrainConfig,
    data: FoldData,
    seed: int,
    keep: Literal["best", "last"],
    objective: str = "accuracy",
    on_epoch: OnEpoch,
    log_dir: Path | None,
    resume_from: Path | None = None,
    save_to: Path | None = None,
    save_every: int | None = None,
    n_slices: int = 1,
    ranks: Ranks = ALONE,
    start: Mapping[str, Tensor] | None = None,
) -> Trained:
    """Trains a network on the training rows of a fold and judges it on the validation rows.

    The same arguments give the same weights, to the bit, on one thread of a processor, also where
    a training was broken off and resumed. Torch's global generator is left as it was.

    Args:
        architecture: a file name in `lightning_models.architectures`.
        config: that architecture's `Config`.
        train_config: how to train.
        data: the fold.
        seed: of weights, order, crops, dropout and augmentation.
        keep: the weights of the epoch with the best objective (ties: lower log loss), or those
            of the last epoch; the latter also switches early stopping off, and lets a plateau go
            by the training loss.
        objective: one of `OBJECTIVES`.
        on_epoch: called after each epoch, but not again for those before a resume.
        log_dir: where TensorBoard scalars go; none for nowhere.
        resume_from: the folder of a saved state to go on from; one that holds none means from the
            beginning.
        save_to: the folder for the state, whole at any time; none for no saving. It may be the
            same, and stays when the training is over (see `resume.discard`).
        save_every: epochs from one save to the next; none for every `resume.SAVE_S` seconds.
        n_slices: gradients of a batch are summed over so many parts of it, one after the other, so
            that less memory is needed. Steps are the same but for what batch norm sees; more than
            one part give other bits.
        ranks: which of the processes that train this network together this one is. Each calls with
            the same arguments and is given the same result, that of one process but for the order
            of sums and for which values dropout drops; the first one alone writes files.
        start: the network's weights to begin with, by their names in it; none for fresh ones.

    Raises:
        Diverged: a loss is not finite, or has exploded.
        UserError: unknown architecture or objective, crops too small for the architecture, a
            state that is damaged or belongs to another training, or more processes than rows.
    """
    if objective not in OBJECTIVES:
        raise unknown("objective", objective, OBJECTIVES)
    speed.quieten_lightning()
    device = speed.device()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        speed.seed_torch(seed_of(seed, Purpose.WEIGHTS), device)
        module = classifier_class(architecture)(
            architecture=architecture,
            config=config,
            train_config=train_config,
            input_shape=data.input_shape(train_config.crop_s),
            n_classes=data.n_classes,
            statistics=data.statistics(center=train_config.center),
            seed=seed,
        )
        more: dict[str, Any] = {}
        if start is not None:
            module.network.load_state_dict(dict(start))
            more["start"] = digest(start)
        if train_config.balance == "class_weights":
            module.class_weights = torch.from_numpy(data.class_weights())
        module.n_slices = n_slices
        if ranks.size > 1:
            module.ranks = ranks
            sync_batch_norm.share(module.network, ranks)
        batches = TrainBatches(
            data, train_config, n_frames=module.input_shape[2], seed=seed, device=device
        )
        if batches.batch_size < ranks.size:
            raise UserError(
                f"a batch of {batches.batch_size} crops cannot be shared by {ranks.size} "
                f"processes; use fewer of them, or a larger train.batch_size"
            )
        with _curves(log_dir if ranks.is_first else None) as curves:
            watch = Watch(
                data, batches, keep=keep, objective=objective, on_epoch=on_epoch, curves=curves
            )
            callbacks: list[pl.Callback] = [watch]
            epochs_done = 0
            if resume_from is not None or save_to is not None:
                resumer = Resumer(
                    watch,
                    described(module, data, keep=keep, objective=objective, **more),
                    resume_from=resume_from,
                    save_to=save_to,
                    save_every=save_every,
                    ranks=ranks,
                )
                callbacks.append(resumer)
                epochs_done = resumer.epochs_done
            _run(module, batches, callbacks, device)
    kept = watch.kept
    if kept.weights and (kept.epoch < watch.epoch or module.average is not None):
        module.load_state_dict(kept.weights)
    module.average = None
    module.ranks = ALONE
    module.eval()
    return Trained(
        module=module,
        epoch=kept.epoch,
        stopped=watch.stopped,
        metrics=kept.metrics,
        per_class=metrics.per_class(kept.proba, data.labels[data.valid_rows]),
        history=watch.history,
        proba=kept.proba,
        n_parameters=sum(p.numel() for p in module.parameters()),
        train_s=watch.train_s,
        valid_s=watch.valid_s,
        resumed_after=epochs_done,
        left_out=watch.left_out,
    )


@contextmanager
def _curves(log_dir: Path | None) -> Iterator[EventFile | None]:
    """A writer of TensorBoard scalars that is closed after the block."""
    if log_dir is None:
        yield None
        return
    curves = EventFile(log_dir)
    try:
        yield curves
    finally:
        curves.close()


def _run(
    module: GenreClassifier,
    batches: TrainBatches,
    callbacks: Sequence[pl.Callback],
    device: torch.device,
) -> None:
    """One fit, with Ctrl-C as it should be."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\.")
        trainer = LeanTrainer(
            device=device,
            max_epochs=module.train_config.max_epochs,
            clip_norm=module.train_config.clip_norm,
            callbacks=callbacks,
        )
        handler = signal.getsignal(signal.SIGINT)
        try:
            trainer.fit(module, batches)
        except SystemExit as left:
            if not isinstance(left.__context__, KeyboardInterrupt):
                raise
            # Lightning turns Ctrl-C into an exit and leaves it ignored; here it stays Ctrl-C
            signal.signal(signal.SIGINT, handler)
            raise KeyboardInterrupt from None
