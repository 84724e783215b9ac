"""run_trial(spec, report): one training run, pure: no Ray, no Optuna, no ledger.

It runs in a worker. All it knows comes in the spec; all that it found goes back as its value.
"""

import functools
import math
import shutil
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import yaml

from chorale.cluster.base import Decision, Report, TrialSpec
from chorale.cluster.environment import own_threads
from chorale.cluster.packing import CONTEXT_BYTES
from chorale.datasets.atomic import write_text
from chorale.datasets.disk import NO_ROOM, NoRoomError, no_room, unless_full
from chorale.search.paths import TrialPaths

if TYPE_CHECKING:
    from torch import Tensor

    from chorale.lightning_models.data.datamodule import FoldData
    from chorale.lightning_models.training.module import GenreClassifier
    from chorale.lightning_models.training.ranks import Ranks

DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""Writes YAML five times as fast where PyYAML was built with libyaml."""

N_PREDICTIONS = 7
"""So often a track is predicted to say how long that takes."""


MEASURED = ("calibrated_log_loss", "latency_ms", "peak_bytes", "device_bytes", "gpus")
"""Facts of a run that not every run has."""


@dataclass(frozen=True)
class TrialPlan:
    """Everything one training run needs to know; plain data that travels to a worker.

    `labels` is int64 (n_tracks,) over the rows of the feature store in `store`; `train_rows`,
    `valid_rows` and `extra_rows` (scored after training, never looked at during it) index it.
    `n_slices` is into how many parts each batch is cut, so that it fits into memory.

    `targets` float32 (n_tracks, n_classes), where there are any, are what training is told of its
    rows instead of their labels. A network that takes longer than `limit_ms` for a clip is not
    trained (see `search.training.latency`). `start` is the folder of a checkpoint that the network
    is cut out of (see `lightning_models.training.structured_pruning`), instead of beginning anew.
    `whole` says that no row is held out: the validation rows are training rows, what is said of
    them counts for nothing, and the last weights are kept.
    """

    architecture: str
    config: Mapping[str, Any]
    features: str
    features_config: Mapping[str, Any]
    train: Mapping[str, Any]
    store: str
    labels: np.ndarray
    class_names: tuple[str, ...]
    train_rows: np.ndarray
    valid_rows: np.ndarray
    extra_rows: np.ndarray
    seed: int
    keep: Literal["best", "last"]
    objective: str
    folder: str
    measure_latency: bool = False
    n_slices: int = 1
    targets: np.ndarray | None = None
    limit_ms: float | None = None
    start: str | None = None
    whole: bool = False

    @property
    def reads(self) -> tuple[str, ...]:
        """The folders that the run reads and that never change."""
        return (self.store,) if self.start is None else (self.store, self.start)

    def __post_init__(self) -> None:
        """Refuses a row that a network would be trained on and scored on.

        Raises:
            ValueError: there is one, or the best of epochs that nothing is held out from is wanted.
        """
        if self.whole and self.keep != "last":
            raise ValueError(f"without held-out rows no epoch is the best, but got {self.keep=}")
        scored = np.concatenate([self.valid_rows, self.extra_rows][self.whole :])
        leaked = np.intersect1d(self.train_rows, scored)
        if len(leaked) or len(np.unique(scored)) < len(scored):
            raise ValueError(
                f"{len(leaked)} rows would be trained on and scored on, or scored twice"
            )


@dataclass(frozen=True)
class TrialResult:
    """What one training run found.

    `valid_proba` is float32 (n_valid, n_classes) of the weights kept, `extra_proba` likewise for
    the extra rows, and the embeddings (n, width) where extra rows were asked for. `per_class` is
    the accuracy of each class, None where no validation row has it. `train_s` is time inside
    training steps, `valid_s` in validation, `wall_s` the whole run, all in seconds; `latency_ms`
    that of one track's prediction, where it was asked for, or of a clip's, where that is limited.
    `calibrated_log_loss` is that of `valid_proba` at its best temperature, in nats, which finalists
    are chosen by, too. `resumed_after` says how many epochs an earlier, broken-off run of the same
    trial had done.
    `left_out` says what nothing depends on and was not written for want of room. `peak_bytes` is
    the most memory that was held: of a GPU of `device_bytes`, or, where that is None, resident in
    the whole process. `gpus` is what the run took of them, where that was chosen for it.
    """

    metrics: Mapping[str, float]
    epoch: int
    n_parameters: int
    train_s: float
    valid_s: float
    wall_s: float
    valid_proba: np.ndarray
    per_class: Mapping[str, float | None] = field(default_factory=dict)
    resumed_after: int = 0
    calibrated_log_loss: float | None = None
    latency_ms: float | None = None
    peak_bytes: int | None = None
    device_bytes: int | None = None
    gpus: float | None = None
    valid_embeddings: np.ndarray | None = None
    extra_proba: np.ndarray | None = None
    extra_embeddings: np.ndarray | None = None
    left_out: Sequence[str] = ()

    def facts(self) -> dict[str, Any]:
        """What the ledger keeps of it, JSON-ready."""
        names = ("epoch", "n_parameters", "train_s", "valid_s", "wall_s", "resumed_after")
        facts = {name: getattr(self, name) for name in names}
        known = {name: getattr(self, name) for name in MEASURED}
        facts |= {name: value for name, value in known.items() if value is not None}
        if self.left_out:
            facts["left_out"] = list(self.left_out)
        return {"metrics": dict(self.metrics), "per_class": dict(self.per_class), **facts}


def run_trial(spec: TrialSpec, report: Report) -> TrialResult:
    """Trains what `spec.payload["plan"]` describes, reporting after each epoch.

    Of several processes that do it together the first one alone writes files and scores the extra
    rows.

    Raises:
        lightning_models.training.module.Diverged: the loss is no longer finite.
        NoRoomError: there is no room for what it must leave.
    """
    # Imported here, in the worker: a process that only plans trials does not wait for it.
    from chorale.lightning_models.training import memory, speed
    from chorale.lightning_models.training.ranks import Ranks

    speed.prepare(own_threads())
    device = speed.device()
    if spec.resources is not None:
        memory.limit(spec.resources.gpus, device, beside_bytes=CONTEXT_BYTES)
    memory.reset(device)
    try:
        plan: TrialPlan = spec.payload["plan"]
        start = None if plan.start is None else spec.path(plan.start)
        here = replace(
            plan, store=spec.path(plan.store), folder=spec.path(plan.folder), start=start
        )
        found = _train(here, report, Ranks(spec.group.rank, spec.group.size))
        held = memory.measured(device)
        gpus = None if spec.resources is None else spec.resources.gpus
        return replace(found, gpus=gpus, **({} if held is None else vars(held)))
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise NoRoomError(no_room(error)) from error
    finally:
        speed.give_memory_back()


def _train(plan: TrialPlan, report: Report, ranks: "Ranks") -> TrialResult:
    started = time.perf_counter()
    from chorale.lightning_models.base import load_architecture
    from chorale.lightning_models.train_config import TrainConfig
    from chorale.lightning_models.training import checkpoint
    from chorale.lightning_models.training.fit import predict, train
    from chorale.search.statistics.calibration import calibrated_log_loss

    paths = TrialPaths(Path(plan.folder))
    left_out: list[str] = []
    # Not durable by themselves: the bank, which is written later, syncs the same folder.
    if ranks.is_first:
        described = yaml.dump(_described(plan), Dumper=DUMPER, sort_keys=False)
        with unless_full(paths.config_yaml.name, left_out):
            write_text(paths.config_yaml, described, durable=False)
    data = _fold(plan)
    timed_ms: float | None = None
    if plan.limit_ms is not None and ranks.is_first:
        from chorale.search.training.latency import refuse_slow

        timed_ms = refuse_slow(plan, data, limit_ms=plan.limit_ms)
    trained = train(
        architecture=plan.architecture,
        config=load_architecture(plan.architecture).Config(**plan.config),
        train_config=TrainConfig(**plan.train),
        data=data,
        seed=plan.seed,
        keep=plan.keep,
        objective=plan.objective,
        on_epoch=lambda epoch, metrics: report(epoch, metrics) is Decision.STOP,
        log_dir=paths.root,
        resume_from=paths.state,
        save_to=paths.state,
        n_slices=plan.n_slices,
        ranks=ranks,
        start=_cut_out(plan),
    )
    if ranks.is_first:
        with unless_full(paths.metrics_csv.name, left_out):
            write_text(paths.metrics_csv, _csv(trained.history), durable=False)
    valid_embeddings = extra_proba = extra_embeddings = None
    if len(plan.extra_rows) and ranks.is_first:
        valid_embeddings = predict(trained.module, data, plan.valid_rows).embeddings
        extra = predict(trained.module, data, plan.extra_rows)
        extra_proba, extra_embeddings = extra.proba, extra.embeddings
        card = {
            "labels": list(plan.class_names),
            "features": plan.features,
            "features_config": dict(plan.features_config),
        }
        checkpoint.save(paths.weights, trained.module, card)
    measure_latency = plan.measure_latency and ranks.is_first
    accuracies = zip(plan.class_names, trained.per_class.tolist(), strict=True)
    return TrialResult(
        metrics=trained.metrics,
        per_class={name: None if math.isnan(value) else value for name, value in accuracies},
        epoch=trained.epoch,
        n_parameters=trained.n_parameters,
        train_s=trained.train_s,
        valid_s=trained.valid_s,
        wall_s=time.perf_counter() - started,
        valid_proba=trained.proba,
        resumed_after=trained.resumed_after,
        calibrated_log_loss=calibrated_log_loss(trained.proba, data.labels[data.valid_rows]),
        latency_ms=_latency_ms(trained.module, data) if measure_latency else timed_ms,
        valid_embeddings=valid_embeddings,
        extra_proba=extra_proba,
        extra_embeddings=extra_embeddings,
        left_out=[*left_out, *trained.left_out],
    )


def _fold(plan: TrialPlan) -> "FoldData":
    """The plan's fold. A worker's trials share one, so that its statistics are taken once."""
    rows = (plan.labels, plan.train_rows, plan.valid_rows)
    values = [np.asarray(part, dtype=np.int64).tobytes() for part in rows]
    targets = None if plan.targets is None else np.asarray(plan.targets, np.float32).tobytes()
    return _opened(plan.store, len(plan.class_names), *values, targets)


@functools.lru_cache(maxsize=1)  # of a GPU's memory, the frames of two folds might take too much
def _opened(
    store: str, n_classes: int, labels: bytes, train: bytes, valid: bytes, targets: bytes | None
) -> "FoldData":
    """A fold of a feature store, by values that can be compared; a store never changes."""
    from chorale.datasets.store.feature_store import FeatureStore
    from chorale.lightning_models.data.datamodule import FoldData

    numbers = [np.frombuffer(part, dtype=np.int64).copy() for part in (labels, train, valid)]
    return FoldData(
        store=FeatureStore.open(Path(store)),
        train_rows=numbers[1],
        valid_rows=numbers[2],
        labels=numbers[0],
        n_classes=n_classes,
        targets=None
        if targets is None
        else np.frombuffer(targets, np.float32).reshape(-1, n_classes).copy(),
    )


def _cut_out(plan: TrialPlan) -> "dict[str, Tensor] | None":
    """The weights to begin with, where the plan names a network that they are cut out of."""
    if plan.start is None:
        return None
    from chorale.lightning_models.base import load_architecture
    from chorale.lightning_models.training import checkpoint
    from chorale.lightning_models.training.structured_pruning import narrow

    wide, _ = checkpoint.load(Path(plan.start))
    config = load_architecture(plan.architecture).Config(**plan.config)
    return narrow(wide, config)


def steps_per_epoch(plan: TrialPlan) -> int:
    """How many optimiser steps an epoch takes, as `lightning_models.data.batches` cuts it.

    Of a table, whose tracks have several rows, it is the least.
    """
    n_epoch = len(plan.train_rows) * int(plan.train.get("crops_per_track", 1))
    batch_size = max(2, min(int(plan.train["batch_size"]), n_epoch))
    return max(1, round(n_epoch / batch_size))


def forget_state(paths: TrialPaths) -> None:
    """Removes the state that a run left behind: it is committed, so nobody goes on with it.

    The driver does it and not the worker: were it to die before it heard of the end, a run without
    a state would begin anew.
    """
    shutil.rmtree(paths.state, ignore_errors=True)


def _latency_ms(module: "GenreClassifier", data: "FoldData") -> float:
    """The median time of one prediction: of the longest validation track, on this worker."""
    from chorale.lightning_models.training.fit import predict

    longest = data.valid_rows[[int(np.argmax(data.lengths[data.valid_rows]))]]
    times_s = []
    for _ in range(N_PREDICTIONS):
        started = time.perf_counter()
        predict(module, data, longest)
        times_s.append(time.perf_counter() - started)
    return 1000 * statistics.median(times_s)


def _described(plan: TrialPlan) -> dict[str, Any]:
    names = ("architecture", "config", "features", "features_config", "train", "seed", "keep")
    described = {name: getattr(plan, name) for name in names}
    return {k: dict(v) if isinstance(v, Mapping) else v for k, v in described.items()}


def _csv(history: Sequence[Mapping[str, float]]) -> str:
    if not history:
        return ""
    lines = [",".join(history[0])]
    lines += [",".join(f"{value:.6g}" for value in row.values()) for row in history]
    return "\n".join(lines) + "\n"
