"""Accuracy of bf16 with channels-last, compared with float32 in contiguous layout. Prints a table.

    python tests/benchmarks/bench_precision.py [--seeds 10] [--epochs 12] [--runs runs]

Both train the same network from the same weights on the same crops of the synthetic corpus's mel
features, with disjoint artists, once per seed and architecture, on the GPU where there is one.
Prints the mean of the paired differences (fast minus plain) with its 95 % interval by Student's t:
a narrow interval that contains 0 means that the speed costs no accuracy.

Source: Student 1908, "The Probable Error of a Mean", https://doi.org/10.2307/2331554.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from chorale.datasets import plugins
from chorale.datasets.catalog import synthetic
from chorale.datasets.config import read_config
from chorale.datasets.features import mel
from chorale.datasets.source import AudioSource
from chorale.datasets.splitting.split import make_split
from chorale.datasets.splitting.split_config import SplitConfig
from chorale.lightning_models import architectures
from chorale.lightning_models.data.datamodule import FoldData
from chorale.lightning_models.train_config import TrainConfig
from chorale.lightning_models.training import fit, speed
from chorale.lightning_models.training.module import GenreClassifier, classifier_class


def fold(runs: Path, *, n_tracks: int) -> FoldData:
    """The first fold of the synthetic corpus, by artists; generated on first use."""
    corpus = synthetic.Config(root=str(runs / "synthetic"), n_tracks=n_tracks)
    source, cache = AudioSource(), runs / "cache"
    found = source.audit(
        synthetic.tracks(corpus), min_duration_s=1.0, cache_root=cache, run=map
    ).tracks
    split = make_split(found, SplitConfig(), n_folds=3)
    store = source.build_store(found, "mel", mel.Config(n_mels=64), root=cache, run=map)
    rows = store.rows(found["track_id"])
    names = sorted(found["label"].unique())
    labels = np.full(int(rows.max()) + 1, -1, dtype=np.int64)
    labels[rows] = [names.index(label) for label in found["label"]]
    return FoldData(
        store=store,
        train_rows=store.rows(split.train_ids(0)),
        valid_rows=store.rows(split.valid_ids(0)),
        labels=labels,
        n_classes=len(names),
    )


def train(name: str, data: FoldData, *, seed: int, epochs: int, fast: bool) -> fit.TrainedNetwork:
    """Trains an architecture with its default config for small data sets."""
    plugin = plugins.load_plugin(architectures, name, kind="architecture")
    default = plugin.DEFAULTS[0]
    own = {key: value for key, value in default.items() if not key.startswith("train.")}
    train_values = {key[6:]: value for key, value in default.items() if key.startswith("train.")}
    speed_precision, fit_class = speed.fastest_precision, classifier_class
    if not fast:
        vars(speed)["precision"] = lambda kind: torch.float32
        vars(fit)["classifier_class"] = _contiguous
    try:
        return fit.train_network(
            architecture=name,
            config=read_config(plugin.Config, own, where=name),
            train_config=TrainConfig(**{**train_values, "max_epochs": epochs}),
            data=data,
            seed=seed,
            keep="last",
            on_epoch=lambda epoch, scores: False,
            log_dir=None,
        )
    finally:
        vars(speed)["precision"], vars(fit)["classifier_class"] = speed_precision, fit_class


def _contiguous(name: str) -> type[GenreClassifier]:
    """An architecture's LightningModule with its network in PyTorch's contiguous layout."""

    class Contiguous(classifier_class(name)):  # type: ignore[misc]
        def __init__(self, **arguments: Any) -> None:
            super().__init__(**arguments)
            self.network.to(memory_format=torch.contiguous_format)

    return Contiguous


def interval(differences: list[float]) -> tuple[float, float]:
    """The mean and half the width of its 95 % interval."""
    n = len(differences)
    error = float(np.std(differences, ddof=1)) / np.sqrt(n)
    return float(np.mean(differences)), float(stats.t.ppf(0.975, n - 1)) * error


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--tracks", type=int, default=synthetic.Config().n_tracks)
    parser.add_argument("--names", nargs="+", default=["cnn", "short_chunk_cnn"])
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="corpus and cache")
    args = parser.parse_args()
    if args.seeds < 2:
        parser.error(f"--seeds must be at least 2 for an interval, but got {args.seeds}")
    speed.prepare_process()
    kind = speed.training_device().type
    precision = speed.fastest_precision(kind)
    print(f"{kind}, {str(precision).removeprefix('torch.')} + channels_last against float32")
    if precision != torch.bfloat16:
        print("this machine has no bf16: both are float32, only the layout differs")
    data = fold(args.runs, n_tracks=args.tracks)
    print(
        f"{len(data.train_rows)} training and {len(data.valid_rows)} validation tracks, "
        f"{args.seeds} seeds, {args.epochs} epochs"
    )
    for name in args.names:
        print(f"\n{name:<6} seed  fast: accuracy  log loss   plain: accuracy  log loss")
        accuracy, log_loss, seconds = [], [], [0.0, 0.0]
        for seed in range(args.seeds):
            scores = []
            for i, fast in enumerate((True, False)):
                started = time.perf_counter()
                trained = train(name, data, seed=seed, epochs=args.epochs, fast=fast)
                seconds[i] += time.perf_counter() - started
                scores.append(trained.metrics)
            fast_scores, plain_scores = scores
            accuracy.append(fast_scores["accuracy"] - plain_scores["accuracy"])
            log_loss.append(fast_scores["log_loss"] - plain_scores["log_loss"])
            print(
                f"{seed:>11} {fast_scores['accuracy']:>15.3f} {fast_scores['log_loss']:>9.3f} "
                f"{plain_scores['accuracy']:>17.3f} {plain_scores['log_loss']:>9.3f}",
                flush=True,
            )
        for what, differences in (("accuracy", accuracy), ("log loss", log_loss)):
            mean, half = interval(differences)
            ends = f"{mean - half:+.4f} .. {mean + half:+.4f}"
            print(f"{name}, {what}: {mean:+.4f}, 95 % interval {ends}")
        print(f"{name}, time: {seconds[0]:.1f} s against {seconds[1]:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
