"""The task of `bench_engines`, the same for every engine: data, space, first points, pruning.

The benchmark writes it once; each arm reads it in its own process.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.trial import BaseTrial

from chorale.datasets.store.feature_store import FeatureStore
from chorale.lightning_models.base import load_architecture
from chorale.search.config.space import Candidate, SearchSpace, make_space
from chorale.search.study.pruner import REDUCTION_FACTOR, first_rung

OPTIMIZERS = {"choice": ["adam", "adamw", "rmsprop"]}
TRAIN = {
    "lr": {"log_float": [1e-4, 3e-3]},
    "batch_size": {"choice": [32, 64, 128]},
    "optimizer": OPTIMIZERS,
}
NARROWED: Mapping[str, Mapping[str, Any]] = {
    "mlp": {
        "train": TRAIN,
        "mlp": {"shrink": 0.5, "batch_norm": False, "activation": "relu", "clip": False},
    },
    "cnn": {
        "train": TRAIN | {"batch_size": {"choice": [16, 32, 64]}},
        "cnn": {
            "n_layers": {"int": [2, 4]},
            "width": {"choice": [16, 32]},
            "growth": 1.0,
            "kernel": 3,
            "pooling": "mean_max",
        },
    },
}
"""The search space: lr, batch size, optimizer, n_layers, width, dropout (and dense for the cnn)."""

FEATURES = {"mlp": "table", "cnn": "mel"}

FIXED: Mapping[str, Any] = {
    "weight_decay": 1e-4,
    "beta2": 0.999,
    "rms_decay": 0.99,
    "schedule": "constant",
    "warm_up": 0.0,
    "clip_norm": None,
    "ema_decay": 0.0,
    "label_smoothing": 0.0,
    "balance": "none",
    "synthetic": False,
    "mixup_alpha": 0.0,
    "n_masks": 0,
    "noise": False,
    "gain_db": 0.0,
    "pitch": 0.0,
    "stretch": 0.0,
    "random_crop": False,
    "center": False,
    "crop_s": 60.0,  # longer than every track: each is one crop
    "n_windows": 1,
}
"""Settings that turn off all that a plain training loop does not do."""


@dataclass(frozen=True)
class Task:
    """One search: `store` is a feature store, `folder` the arm's, `ray` Ray's (a short path)."""

    architecture: str
    trials: int
    epochs: int
    seed: int
    cores: int
    store: str
    rows: str
    folder: str
    ray: str

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: str) -> "Task":
        return cls(**json.loads(Path(path).read_text()))

    @property
    def rung(self) -> int:
        """The epoch after which only the best third continues."""
        return first_rung(self.epochs)

    @property
    def reduction(self) -> int:
        return REDUCTION_FACTOR

    @property
    def features(self) -> str:
        return FEATURES[self.architecture]

    def space(self) -> SearchSpace:
        return _space(self.architecture)

    def first_points(self) -> list[dict[str, Any]]:
        """The known-good points that every engine tries first; at most half of the trials."""
        points: list[dict[str, Any]] = []
        for point in self.space().defaults():
            if point not in points:
                points.append(point)
        return points[: self.trials // 2]

    def suggest(self, trial: BaseTrial) -> Candidate:
        return self.space().suggest(trial)

    def candidate(self, values: Mapping[str, Any]) -> Candidate:
        return self.space().candidate(lambda name, _: values[name])


@cache
def _space(architecture: str) -> SearchSpace:
    features = (FEATURES[architecture],)
    space, problems = make_space((architecture,), features, NARROWED[architecture], fixed=FIXED)
    if space is None:
        raise ValueError("; ".join(problems))
    return space


@dataclass(frozen=True)
class Rows:
    """Training and validation rows of the store; `labels` are those of all its rows."""

    labels: NDArray[np.int64]
    train: NDArray[np.int64]
    valid: NDArray[np.int64]
    class_names: tuple[str, ...]

    @classmethod
    def read(cls, path: str) -> "Rows":
        with np.load(path) as saved:
            names = tuple(saved["class_names"].tolist())
            return cls(saved["labels"], saved["train"], saved["valid"], names)

    def write(self, path: Path) -> None:
        names = np.array(self.class_names)
        np.savez(path, labels=self.labels, train=self.train, valid=self.valid, class_names=names)


@dataclass(frozen=True)
class Arrays:
    """The rows as arrays (n, 1, n_bins, n_frames), standardised by the training rows."""

    x_train: NDArray[np.float32]
    y_train: NDArray[np.int64]
    x_valid: NDArray[np.float32]
    y_valid: NDArray[np.int64]
    n_classes: int

    @classmethod
    def read(cls, task: Task) -> "Arrays":
        rows, store = Rows.read(task.rows), FeatureStore.open(Path(task.store))
        tracks = [
            store.frames[begin:end].T
            for begin, end in zip(store.offsets[:-1], store.offsets[1:], strict=True)
        ]
        x = np.stack(tracks)[:, None]
        mean = x[rows.train].mean(axis=(0, 3), keepdims=True)
        std = np.maximum(x[rows.train].std(axis=(0, 3), keepdims=True), 1e-6)
        x = ((x - mean) / std).astype(np.float32)
        y = rows.labels
        n_classes = len(rows.class_names)
        return cls(x[rows.train], y[rows.train], x[rows.valid], y[rows.valid], n_classes)


def build(task: Task, candidate: Candidate, data: Arrays) -> Any:
    """The `nn.Module` that every engine trains."""
    plugin = load_architecture(candidate.architecture)
    config = plugin.Config(**candidate.config)
    return plugin.build(config, data.x_train.shape[1:], data.n_classes)
