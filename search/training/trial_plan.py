"""Input and output of one training run: the plan that is sent to a worker, and its result."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from chorale.search.training.model_cost import ModelLimit, NetworkCost

OPTIONAL_FACTS = (
    "calibrated_log_loss", "latency_ms", "peak_bytes", "device_bytes", "gpus", "n_epochs",
)  # fmt: skip
"""Facts that not every run has."""


@dataclass(frozen=True)
class TrialPlan:
    """The input of one training run: plain data that is sent to a worker.

    `labels` is int64 (n_tracks,) over the rows of the feature store in `store`, or, multi-label,
    int8 (n_tracks, n_classes) of 0, 1 and `UNKNOWN`; `train_rows`,
    `valid_rows` and `extra_rows` (predicted after training, never used during it) index it.
    `n_slices` is the number of micro-batches per batch (gradient accumulation), to save memory.

    `targets` float32 (n_tracks, n_classes), if given, are soft targets that replace the labels of
    the training rows, as in distillation. A network whose cost exceeds `limit` is not trained.
    `start` is the folder of a checkpoint from which the network is pruned (see
    `lightning_models.training.structured_pruning`), instead of random weights. With `no_holdout`
    the validation rows are training rows: their scores mean nothing, and the last weights are kept.

    `views` are the feature stores of augmented views of the tracks that some fold trains on, for a
    training with `train.views`; each has its own rows.
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
    limit: ModelLimit | None = None
    start: str | None = None
    no_holdout: bool = False
    views: tuple[str, ...] = ()

    @property
    def reads(self) -> tuple[str, ...]:
        """The folders that the run reads; their content never changes."""
        start = () if self.start is None else (self.start,)
        return (self.store, *self.views, *start)

    def __post_init__(self) -> None:
        """Refuses rows that are both trained on and scored.

        Raises:
            ValueError: there are such rows, or the best epoch is to be kept without held-out rows.
        """
        if self.no_holdout and self.keep != "last":
            raise ValueError(f"without held-out rows no epoch is the best, but got {self.keep=}")
        scored = np.concatenate([self.valid_rows, self.extra_rows][self.no_holdout :])
        leaked = np.intersect1d(self.train_rows, scored)
        if len(leaked) or len(np.unique(scored)) < len(scored):
            raise ValueError(
                f"{len(leaked)} rows would be trained on and scored on, or scored twice"
            )


@dataclass(frozen=True)
class TrialResult:
    """The output of one training run.

    `valid_proba` is float32 (n_valid, n_classes) of the kept weights; `extra_proba` and the
    embeddings (n, width) are given if the plan has extra rows. `per_class` is the accuracy of each
    class (multi-label: average precision), None where no validation row has it.
    `calibrated_log_loss` is that of `valid_proba` at its best temperature, in nats, which is a
    criterion for finalists.

    `train_s` is the time in training steps, `valid_s` in validation, `wall_s` of the whole run.
    `latency_ms` is that of one track's prediction, if it is measured, `cost` that of the network,
    if it is limited. `resumed_after` is the number of epochs of an earlier, interrupted run of the
    trial. `left_out` lists what a full disk left unwritten, on which nothing depends. `peak_bytes`
    is the peak memory: of a GPU of `device_bytes`, or, where that is None, resident in the process.
    `gpus` is the share of GPUs that was assigned to the run. `n_epochs` is the number of epochs
    that it ran, of which `epoch` is the one whose weights were kept.
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
    cost: NetworkCost | None = None
    peak_bytes: int | None = None
    device_bytes: int | None = None
    gpus: float | None = None
    valid_embeddings: np.ndarray | None = None
    extra_proba: np.ndarray | None = None
    extra_embeddings: np.ndarray | None = None
    left_out: Sequence[str] = ()
    n_epochs: int | None = None

    def facts(self) -> dict[str, Any]:
        """The JSON-ready facts for the ledger."""
        names = ("epoch", "n_parameters", "train_s", "valid_s", "wall_s", "resumed_after")
        facts = {name: getattr(self, name) for name in names}
        known = {name: getattr(self, name) for name in OPTIONAL_FACTS}
        facts |= {name: value for name, value in known.items() if value is not None}
        if self.cost is not None:
            facts["cost"] = asdict(self.cost)
        if self.left_out:
            facts["left_out"] = list(self.left_out)
        return {"metrics": dict(self.metrics), "per_class": dict(self.per_class), **facts}
