"""run_trial(spec, report): one training run, pure: no Ray, no Optuna, no ledger.

It runs in a worker. All it knows comes in the spec; all that it found goes back as its value.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from cluster.base import Decision, Report, TrialSpec
from datasets.atomic import write_text
from search.paths import TrialPaths


@dataclass(frozen=True)
class TrialPlan:
    """Everything one training run needs to know; plain data that travels to a worker.

    `labels` is int64 (n_tracks,) over the rows of the feature store in `store`; `train_rows`,
    `valid_rows` and `extra_rows` (scored after training, never looked at during it) index it.
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


@dataclass(frozen=True)
class TrialResult:
    """What one training run found.

    `valid_proba` is float32 (n_valid, n_classes) of the weights kept, `extra_proba` likewise for
    the extra rows, and the embeddings (n, width) where extra rows were asked for. `train_s` is
    time inside training steps, `valid_s` in validation, `wall_s` the whole run, all in seconds.
    """

    metrics: Mapping[str, float]
    epoch: int
    n_parameters: int
    train_s: float
    valid_s: float
    wall_s: float
    valid_proba: np.ndarray
    valid_embeddings: np.ndarray | None = None
    extra_proba: np.ndarray | None = None
    extra_embeddings: np.ndarray | None = None

    def facts(self) -> dict[str, Any]:
        """What the ledger keeps of it, JSON-ready."""
        names = ("epoch", "n_parameters", "train_s", "valid_s", "wall_s")
        return {"metrics": dict(self.metrics), **{name: getattr(self, name) for name in names}}


def run_trial(spec: TrialSpec, report: Report) -> TrialResult:
    """Trains what `spec.payload["plan"]` describes, reporting after each epoch.

    Raises:
        lightning_models.module.Diverged: the loss is no longer finite.
    """
    # Imported here, in the worker: a process that only plans trials does not wait for it.
    from lightning_models import speed

    speed.prepare()
    try:
        return _train(spec.payload["plan"], report)
    finally:
        speed.give_memory_back()


def _train(plan: TrialPlan, report: Report) -> TrialResult:
    started = time.perf_counter()
    from datasets.cache import FeatureStore
    from lightning_models import checkpoint
    from lightning_models.datamodule import FoldData
    from lightning_models.fit import predict, train
    from lightning_models.train_config import TrainConfig
    from search.space import load_architecture

    paths = TrialPaths(Path(plan.folder))
    write_text(paths.config_yaml, yaml.safe_dump(_described(plan), sort_keys=False))
    data = FoldData(
        store=FeatureStore.open(Path(plan.store)),
        train_rows=plan.train_rows,
        valid_rows=plan.valid_rows,
        labels=plan.labels,
        n_classes=len(plan.class_names),
    )
    history: list[dict[str, float]] = []

    def on_epoch(epoch: int, metrics: Mapping[str, float]) -> bool:
        history.append({"epoch": epoch, **metrics})
        return report(epoch, metrics) is Decision.STOP

    trained = train(
        architecture=plan.architecture,
        config=load_architecture(plan.architecture).Config(**plan.config),
        train_config=TrainConfig(**plan.train),
        data=data,
        seed=plan.seed,
        keep=plan.keep,
        objective=plan.objective,
        on_epoch=on_epoch,
        log_dir=paths.root,
    )
    write_text(paths.metrics_csv, _csv(history))
    valid_embeddings = extra_proba = extra_embeddings = None
    if len(plan.extra_rows):
        valid_embeddings = predict(trained.module, data, plan.valid_rows).embeddings
        extra = predict(trained.module, data, plan.extra_rows)
        extra_proba, extra_embeddings = extra.proba, extra.embeddings
        card = {
            "labels": list(plan.class_names),
            "features": plan.features,
            "features_config": dict(plan.features_config),
        }
        checkpoint.save(paths.weights, trained.module, card)
    return TrialResult(
        metrics=trained.metrics,
        epoch=trained.epoch,
        n_parameters=trained.n_parameters,
        train_s=trained.train_s,
        valid_s=trained.valid_s,
        wall_s=time.perf_counter() - started,
        valid_proba=trained.proba,
        valid_embeddings=valid_embeddings,
        extra_proba=extra_proba,
        extra_embeddings=extra_embeddings,
    )


def _described(plan: TrialPlan) -> dict[str, Any]:
    names = ("architecture", "config", "features", "features_config", "train", "seed", "keep")
    described = {name: getattr(plan, name) for name in names}
    return {k: dict(v) if isinstance(v, Mapping) else v for k, v in described.items()}


def _csv(history: list[dict[str, float]]) -> str:
    if not history:
        return ""
    lines = [",".join(history[0])]
    lines += [",".join(f"{value:.6g}" for value in row.values()) for row in history]
    return "\n".join(lines) + "\n"
