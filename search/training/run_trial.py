"""The trainable: `run_trial(spec, report)` is one training run, without Ray, Optuna or ledger.

It runs in a worker. Its input is the spec, its output the returned value and the reports.
"""

import functools
import math
import shutil
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from chorale.cluster import preemption
from chorale.cluster.base import Decision, Preempted, Report, TrialSpec
from chorale.cluster.environment import configured_threads
from chorale.cluster.packing import CUDA_CONTEXT_BYTES
from chorale.datasets.atomic import write_text
from chorale.datasets.disk import (
    UNWRITABLE_ERRNOS,
    NoRoomError,
    skip_if_unwritable,
    write_error_text,
)
from chorale.search.paths import TrialPaths
from chorale.search.training.model_cost import NetworkCost, Refusal
from chorale.search.training.trial_plan import TrialPlan, TrialResult

if TYPE_CHECKING:
    from torch import Tensor

    from chorale.datasets.label_sets import LabelArray
    from chorale.datasets.store.feature_store import FeatureStore
    from chorale.lightning_models.data.datamodule import FoldData
    from chorale.lightning_models.training.interruption import SaveRequest
    from chorale.lightning_models.training.module import GenreClassifier
    from chorale.lightning_models.training.ranks import Ranks

YAML_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""The YAML writer: five times as fast where PyYAML was built with libyaml."""

N_LATENCY_SAMPLES = 7
"""The number of predictions of which the median latency is taken."""


def run_trial(spec: TrialSpec, report: Report) -> TrialResult | Refusal:
    """Trains the `TrialPlan` in `spec.payload["plan"]`, reporting after each epoch.

    A network that exceeds the plan's limit is refused instead.

    In data-parallel training only the first process writes files and predicts the extra rows.

    Raises:
        lightning_models.training.module.Diverged: the loss is no longer finite, or has exploded.
        NoRoomError: the disk is too full for a file that is needed.
        Preempted: the process was asked to end; the training's state is saved.
    """
    # imported in the worker: planning trials does not need PyTorch
    from chorale.lightning_models.training import memory, speed
    from chorale.lightning_models.training.interruption import SaveRequest, TrainingInterrupted
    from chorale.lightning_models.training.ranks import Ranks

    speed.prepare_process(configured_threads())
    device = speed.training_device()
    if spec.resources is not None:
        memory.limit_gpu_memory(spec.resources.gpus, device, beside_bytes=CUDA_CONTEXT_BYTES)
    memory.reset_peak(device)
    try:
        plan: TrialPlan = spec.payload["plan"]
        start = None if plan.start is None else spec.local_path(plan.start)
        here = replace(
            plan,
            store=spec.local_path(plan.store),
            views=tuple(map(spec.local_path, plan.views)),
            folder=spec.local_path(plan.folder),
            start=start,
        )
        request = SaveRequest()
        ranks = Ranks(spec.process_group.rank, spec.process_group.size)
        with preemption.calling(request.request):
            found = _train(here, report, ranks, request)
        if isinstance(found, Refusal):
            return found
        held = memory.measured_peak(device)
        gpus = None if spec.resources is None else spec.resources.gpus
        return replace(found, gpus=gpus, **({} if held is None else vars(held)))
    except OSError as error:
        if error.errno not in UNWRITABLE_ERRNOS:
            raise
        raise NoRoomError(write_error_text(error)) from error
    except TrainingInterrupted as error:
        raise Preempted(f"preempted: {error}; its process was asked to end") from error
    finally:
        speed.release_memory()


def _train(
    plan: TrialPlan, report: Report, ranks: "Ranks", save_request: "SaveRequest"
) -> TrialResult | Refusal:
    started = time.perf_counter()
    from chorale.lightning_models.base import load_architecture
    from chorale.lightning_models.train_config import TrainConfig
    from chorale.lightning_models.training import checkpoint, speed
    from chorale.lightning_models.training.fit import predict, train_network
    from chorale.search.statistics.calibration import calibrated_log_loss

    paths = TrialPaths(Path(plan.folder))
    left_out: list[str] = []
    # not synced here: the prediction bank, which is written later, syncs the same folder
    if ranks.is_first:
        described = yaml.dump(_config_yaml(plan), Dumper=YAML_DUMPER, sort_keys=False)
        with skip_if_unwritable(paths.config_yaml.name, left_out):
            write_text(paths.config_yaml, described, durable=False)
    data = _fold(plan)
    cost: NetworkCost | None = None
    if plan.limit is not None:
        from chorale.search.training.latency import measure_cost

        measured = measure_cost(plan, data) if ranks.is_first else None
        cost = ranks.broadcast(measured, device=speed.training_device())
        if (refusal := plan.limit.refusal(cost)) is not None:
            return refusal
    trained = train_network(
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
        start=_pruned_weights(plan),
        save_request=save_request,
    )
    if ranks.is_first:
        with skip_if_unwritable(paths.metrics_csv.name, left_out):
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
        checkpoint.save_checkpoint(paths.weights, trained.module, card)
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
        latency_ms=_latency_ms(trained.module, data) if measure_latency else None,
        cost=cost,
        valid_embeddings=valid_embeddings,
        extra_proba=extra_proba,
        extra_embeddings=extra_embeddings,
        left_out=[*left_out, *trained.left_out],
        n_epochs=len(trained.history),
    )


def _fold(plan: TrialPlan) -> "FoldData":
    """The plan's fold. A worker's trials share one, so that its statistics are computed once."""
    rows = (plan.train_rows, plan.valid_rows)
    values = [np.asarray(part, dtype=np.int64).tobytes() for part in rows]
    is_one_class = plan.labels.ndim == 1
    labels = np.asarray(plan.labels, np.int64 if is_one_class else np.int8).tobytes()
    targets = None if plan.targets is None else np.asarray(plan.targets, np.float32).tobytes()
    stores = (plan.store, *plan.views)
    return _opened(stores, len(plan.class_names), is_one_class, labels, *values, targets)


@functools.lru_cache(maxsize=1)  # the frames of two folds might take too much GPU memory
def _opened(
    stores: tuple[str, ...],
    n_classes: int,
    is_one_class: bool,
    labels: bytes,
    train: bytes,
    valid: bytes,
    targets: bytes | None,
) -> "FoldData":
    """A fold of a feature store, by hashable values; a store's content never changes.

    The stores after the first are those of views.
    """
    from chorale.datasets.store.feature_store import FeatureStore
    from chorale.lightning_models.data.datamodule import FoldData, View

    train_rows, valid_rows = (np.frombuffer(part, np.int64).copy() for part in (train, valid))
    numbers: LabelArray
    if is_one_class:
        numbers = np.frombuffer(labels, np.int64).copy()
    else:
        numbers = np.frombuffer(labels, np.int8).reshape(-1, n_classes).copy()
    store, *others = (FeatureStore.open(Path(one)) for one in stores)
    return FoldData(
        store=store,
        train_rows=train_rows,
        valid_rows=valid_rows,
        labels=numbers,
        n_classes=n_classes,
        targets=None
        if targets is None
        else np.frombuffer(targets, np.float32).reshape(-1, n_classes).copy(),
        views=tuple(View(one, _rows_in(one, store)) for one in others),
    )


def _rows_in(view: "FeatureStore", store: "FeatureStore") -> np.ndarray:
    """Of each track of `store` the row in a view, int64 (n_tracks,); -1 where that lacks it."""
    row_of = {track: row for row, track in enumerate(view.track_ids)}
    return np.array([row_of.get(track, -1) for track in store.track_ids], dtype=np.int64)


def _pruned_weights(plan: TrialPlan) -> "dict[str, Tensor] | None":
    """The initial weights, pruned from the plan's checkpoint; None if it has none."""
    if plan.start is None:
        return None
    from chorale.lightning_models.base import load_architecture
    from chorale.lightning_models.training import checkpoint
    from chorale.lightning_models.training.structured_pruning import prune_network

    wide, _ = checkpoint.load_checkpoint(Path(plan.start))
    config = load_architecture(plan.architecture).Config(**plan.config)
    return prune_network(wide, config)


def steps_per_epoch(plan: TrialPlan) -> int:
    """The number of optimizer steps per epoch, as in `lightning_models.data.batches`.

    For a table, whose tracks may have several rows, it is a lower bound.
    """
    n_epoch = len(plan.train_rows) * int(plan.train.get("crops_per_track", 1))
    batch_size = max(2, min(int(plan.train["batch_size"]), n_epoch))
    return max(1, round(n_epoch / batch_size))


def remove_state(paths: TrialPaths) -> None:
    """Removes the training state of a run that is committed, so that nothing resumes it.

    The driver does this, not the worker: if the driver dies before it receives the result, the run
    resumes from the state instead of starting again.
    """
    shutil.rmtree(paths.state, ignore_errors=True)


def _latency_ms(module: "GenreClassifier", data: "FoldData") -> float:
    """The median latency of predicting the longest validation track, on this worker."""
    from chorale.lightning_models.training.fit import predict

    longest = data.valid_rows[[int(np.argmax(data.lengths[data.valid_rows]))]]
    times_s = []
    for _ in range(N_LATENCY_SAMPLES):
        started = time.perf_counter()
        predict(module, data, longest)
        times_s.append(time.perf_counter() - started)
    return 1000 * statistics.median(times_s)


def _config_yaml(plan: TrialPlan) -> dict[str, Any]:
    names = ("architecture", "config", "features", "features_config", "train", "seed", "keep")
    described = {name: getattr(plan, name) for name in names}
    return {k: dict(v) if isinstance(v, Mapping) else v for k, v in described.items()}


def _csv(history: Sequence[Mapping[str, float]]) -> str:
    if not history:
        return ""
    lines = [",".join(history[0])]
    lines += [",".join(f"{value:.6g}" for value in row.values()) for row in history]
    return "\n".join(lines) + "\n"
