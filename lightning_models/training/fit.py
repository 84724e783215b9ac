"""The training loop's entry point: `train_network` fits one network on one fold.

`search.training.run_trial` calls it once for a trial, and once for each fold of a finalist.
"""

import signal
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from chorale.datasets.errors import UserError, unknown_name_error
from chorale.datasets.label_sets import LabelArray
from chorale.datasets.seeds import Purpose, derive_seed
from chorale.lightning_models import metrics
from chorale.lightning_models.data.batches import TrainBatches
from chorale.lightning_models.data.datamodule import FoldData
from chorale.lightning_models.multi_label_metrics import average_precisions
from chorale.lightning_models.train_config import TrainConfig
from chorale.lightning_models.training import speed, sync_batch_norm
from chorale.lightning_models.training.callbacks import (
    MULTI_LABEL_OBJECTIVES,
    ONE_CLASS_OBJECTIVES,
    EpochEnd,
    OnEpoch,
)
from chorale.lightning_models.training.events import EventFile
from chorale.lightning_models.training.interruption import SaveRequest
from chorale.lightning_models.training.module import GenreClassifier, classifier_class
from chorale.lightning_models.training.predict import Prediction, predict
from chorale.lightning_models.training.ranks import SINGLE_PROCESS, Ranks
from chorale.lightning_models.training.resume import (
    ResumeCallback,
    tensors_digest,
    training_identity,
)
from chorale.lightning_models.training.trainer import LeanTrainer, require_called_hooks

__all__ = ["Prediction", "TrainedNetwork", "predict", "train_network"]


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A trained network.

    `epoch` (counted from 1), `metrics`, `proba` (n_valid, n_classes) and `per_class` (n_classes,),
    the accuracy of each class (NaN where no row has it; where multi-label its average precision),
    belong to the weights that were kept. `history` has a row for each epoch, of which
    `resumed_after` precede a resume. `stopped`: the training was ended by `on_epoch`. `train_s` are
    the seconds in training steps, `valid_s` those in validation. `left_out` lists what a full disk
    left unwritten: curves, or a state to resume from.
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


def train_network(
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
    ranks: Ranks = SINGLE_PROCESS,
    start: Mapping[str, Tensor] | None = None,
    save_request: SaveRequest | None = None,
) -> TrainedNetwork:
    """Trains a network on the training rows of a fold and validates it on the validation rows.

    The same arguments give bit-identical weights on one CPU thread, also where a training was
    interrupted and resumed. PyTorch's global generator is left as it was.

    Args:
        architecture: a file name in `lightning_models.architectures`.
        config: that architecture's `Config`.
        train_config: how to train.
        data: the fold.
        seed: of weights, order, crops, dropout and augmentation.
        keep: "best": the weights of the epoch with the best objective (ties: lower log loss);
            "last": those of the last epoch, without early stopping, and the plateau schedule
            follows the training loss, so that the weights do not depend on validation rows.
        objective: one of `OBJECTIVES`, and of the metrics of such labels.
        on_epoch: called after each epoch, but not again for those before a resume.
        log_dir: the folder of TensorBoard scalars; None for none.
        resume_from: the folder of a saved state to continue from; where it holds none, training
            starts from the beginning.
        save_to: the folder for the state, which is valid at any time; None for no saving. It may be
            `resume_from`, and is not removed at the end.
        save_every: epochs between saves; None for every `resume.SAVE_INTERVAL_S` seconds.
        n_slices: gradient accumulation: a batch is processed in this many micro-batches, to need
            less memory. Steps are the same except for batch norm's statistics and rounding.
        ranks: data-parallel training: the rank of this process. All processes call with the same
            arguments and get the same result, which is that of a single process except for the
            order of sums and for which values dropout drops; only the first writes files.
        start: initial weights of the network by their names; None for random ones.
        save_request: with it the training can be interrupted, unless it has several processes: it
            saves its state to `save_to` within seconds.

    Raises:
        TrainingInterrupted: that was requested.
        Diverged: a loss is not finite, or has exploded.
        UserError: unknown architecture or objective, crops too small for the architecture, a
            state that is damaged or belongs to another training, or more processes than rows.
    """
    known = MULTI_LABEL_OBJECTIVES if data.multi_label else ONE_CLASS_OBJECTIVES
    if objective not in known:
        raise unknown_name_error("objective", objective, known)
    speed.silence_lightning()
    device = speed.training_device()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        speed.seed_torch(derive_seed(seed, Purpose.WEIGHTS), device)
        module_class = classifier_class(architecture)
        require_called_hooks(module_class)
        module = module_class(
            architecture=architecture,
            config=config,
            train_config=train_config,
            input_shape=data.input_shape(train_config.crop_s),
            n_classes=data.n_classes,
            multi_label=data.multi_label,
            statistics=data.statistics(center=train_config.center),
            seed=seed,
        )
        identity: dict[str, Any] = {}
        if start is not None:
            module.network.load_state_dict(dict(start))
            identity["start"] = tensors_digest(start)
        if train_config.balance == "class_weights":
            module.class_weights = torch.from_numpy(data.class_weights())
        module.has_unknown = data.has_unknown
        module.n_slices = n_slices
        if ranks.size > 1:
            module.ranks = ranks
            sync_batch_norm.synchronize_batch_norm(module.network, ranks)
        batches = TrainBatches(
            data, train_config, n_frames=module.input_shape[2], seed=seed, device=device
        )
        if batches.batch_size < ranks.size:
            raise UserError(
                f"a batch of {batches.batch_size} crops cannot be shared by {ranks.size} "
                f"processes; use fewer of them, or a larger train.batch_size"
            )
        with _curves(log_dir if ranks.is_first else None) as curves:
            epoch_end = EpochEnd(
                data, batches, keep=keep, objective=objective, on_epoch=on_epoch, curves=curves
            )
            callbacks: list[pl.Callback] = [epoch_end]
            epochs_done = 0
            after_step: Callable[[], None] | None = None
            if resume_from is not None or save_to is not None:
                resumer = ResumeCallback(
                    epoch_end,
                    training_identity(module, data, keep=keep, objective=objective, **identity),
                    resume_from=resume_from,
                    save_to=save_to,
                    save_every=save_every,
                    ranks=ranks,
                    save_request=save_request,
                )
                callbacks.append(resumer)
                epochs_done = resumer.epochs_done
                after_step = resumer.after_step if save_request is not None else None
            _run(module, batches, callbacks, device, after_step)
    kept = epoch_end.kept
    if kept.weights and (kept.epoch < epoch_end.epoch or module.ema is not None):
        module.load_state_dict(kept.weights)
    module.ema = None
    module.ranks = SINGLE_PROCESS
    module.eval()
    return TrainedNetwork(
        module=module,
        epoch=kept.epoch,
        stopped=epoch_end.stopped,
        metrics=kept.metrics,
        per_class=_per_class(kept.proba, data.labels[data.valid_rows]),
        history=epoch_end.history,
        proba=kept.proba,
        n_parameters=sum(p.numel() for p in module.parameters()),
        train_s=epoch_end.train_s,
        valid_s=epoch_end.valid_s,
        resumed_after=epochs_done,
        left_out=epoch_end.left_out,
    )


def _per_class(proba: NDArray[np.float32], labels: LabelArray) -> NDArray[np.float64]:
    if labels.ndim == 2:
        return average_precisions(proba, labels)
    return metrics.accuracy_per_class(proba, labels)


@contextmanager
def _curves(log_dir: Path | None) -> Iterator[EventFile | None]:
    """A writer of TensorBoard scalars, closed after the block."""
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
    after_step: Callable[[], None] | None,
) -> None:
    """One `Trainer.fit`, after which Ctrl-C still raises KeyboardInterrupt."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\.")
        trainer = LeanTrainer(
            device=device,
            max_epochs=module.train_config.max_epochs,
            clip_norm=module.train_config.clip_norm,
            callbacks=callbacks,
        )
        trainer.after_step = after_step
        handler = signal.getsignal(signal.SIGINT)
        try:
            trainer.fit(module, batches)
        except SystemExit as left:
            if not isinstance(left.__context__, KeyboardInterrupt):
                raise
            # Lightning turns Ctrl-C into an exit and leaves the signal ignored
            signal.signal(signal.SIGINT, handler)
            raise KeyboardInterrupt from None
