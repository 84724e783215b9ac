"""Fine-tuning the last blocks of an encoder, beside a linear probe on its frozen embeddings.

    python tests/benchmarks/bench_fine_tuning.py --work FOLDER --esc FOLDER [--encoder musicnn]
        [--layer LAYER] [--blocks 1 2] [--splits 3] [--seeds 1] [--epochs 40] [--decays 0.4 1.0]

The encoder must have been fetched (`chorale encoder fetch`). For each split the tracks of ESC-50
are divided into 5 folds, disjoint by source recording, and each fold is predicted by networks
trained on the other four: `encoder_probe` with its first known-good setting on the embeddings, and
`encoder_blocks` with its first one on the input of the last blocks. The weights of the last epoch
are kept, so that no fold chooses anything. Prints the accuracy over all tracks and the difference,
paired by split and seed, with 95 % intervals by groups of the first split, and the seconds of an
epoch.
"""

import argparse
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from chorale.datasets.audio import content_hash
from chorale.datasets.base import track_table
from chorale.datasets.features import block_input, encoder
from chorale.datasets.store.feature_store import FeatureStore
from chorale.datasets.store.joining import build_store
from chorale.lightning_models.base import load_architecture
from chorale.lightning_models.data.datamodule import FoldData
from chorale.lightning_models.train_config import TrainConfig
from chorale.lightning_models.training.fit import train_network
from chorale.search.statistics.intervals import difference_interval, proportion_interval

N_FOLDS = 5


@dataclass(frozen=True)
class Arm:
    """A network, what it reads, and values of its config beside its first known-good setting."""

    name: str
    architecture: str
    store: FeatureStore
    config: dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="the folder of the feature cache")
    parser.add_argument("--esc", type=Path, required=True, help="folder with one folder per class")
    parser.add_argument("--encoder", default="musicnn")
    parser.add_argument("--layer", default=None, help="the encoder's output; default: its first")
    parser.add_argument("--blocks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--decays", type=float, nargs="+", default=[0.4])
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=40)
    options = parser.parse_args()
    arms, labels, groups = prepare(options)
    pairs = [(split, seed) for split in range(options.splits) for seed in range(options.seeds)]
    frozen: list[np.ndarray] = []
    for arm in arms:
        began = time.perf_counter()
        right = [out_of_fold(arm, labels, groups, *pair, options.epochs) for pair in pairs]
        each = np.array([100 * one.mean() for one in right])
        epoch_s = (time.perf_counter() - began) / (len(pairs) * N_FOLDS * options.epochs)
        frozen = frozen or right
        gains = each - np.array([100 * one.mean() for one in frozen])
        low, high = proportion_interval(right[0].astype(float), groups)
        worst, best = difference_interval(right[0].astype(float) - frozen[0], groups)
        every = ", ".join(f"{one:.1f}" for one in each)
        print(
            f"{arm.name}: {each.mean():.1f} % ({every}; the first {100 * low:.1f} to "
            f"{100 * high:.1f}), {gains.mean():+.1f} against frozen "
            f"({', '.join(f'{gain:+.1f}' for gain in gains)}; the first {100 * worst:+.1f} to "
            f"{100 * best:+.1f}); {epoch_s:.2f} s an epoch of {round(0.8 * len(labels))} tracks",
            flush=True,
        )
    return 0


def prepare(options: argparse.Namespace) -> tuple[list[Arm], np.ndarray, np.ndarray]:
    """The arms, the frozen one first, and the label and the group of each track."""
    rows = []
    for path in sorted(options.esc.rglob("*.flac")):
        group = re.search(r"-(\d+)-[A-Z]-", path.name)
        if group is None:
            raise ValueError(f"{path.name} is not named as the files of ESC-50 are")
        label = path.parent.name
        facts = {"track_id": f"{label}/{path.name}", "path": str(path), "label": label}
        rows.append({**facts, "group": group[1], "duration_s": 5.0})
    tracks = track_table(rows)
    tracks["content"] = [content_hash(path) for path in tracks["path"]]

    def store(name: str, config: Any) -> FeatureStore:
        began = time.perf_counter()
        made = build_store(tracks, name, config, root=options.work / "cache")
        n_bytes = made.frames.nbytes / 2**20
        print(f"{name}: {n_bytes:.0f} MiB, {time.perf_counter() - began:.1f} s", flush=True)
        return made

    key, layer = options.encoder, options.layer
    config = encoder.Config(name=key, layer=layer)
    arms = [Arm("frozen, linear probe", "encoder_probe", store(f"encoder-{key}", config), {})]
    for n_blocks in options.blocks:
        made = block_input.Config(name=key, fine_tune=n_blocks, layer=layer or "")
        kept = store(f"block_input-{key}.{n_blocks}", made)
        for decay in options.decays:
            values = {**made.network_values, "lr_decay": decay}
            name = f"fine_tune {n_blocks}, lr_decay {decay:g}"
            arms.append(Arm(name, "encoder_blocks", kept, values))
    labels = np.unique(tracks["label"], return_inverse=True)[1].astype(np.int64)
    return arms, labels, tracks["group"].to_numpy(dtype=str)


def out_of_fold(
    arm: Arm, labels: np.ndarray, groups: np.ndarray, split: int, seed: int, epochs: int
) -> np.ndarray:
    """Whether each track is classified correctly by networks not trained on its group."""
    plugin = load_architecture(arm.architecture)
    point = plugin.DEFAULTS[0]
    train: dict[str, Any] = {
        key.removeprefix("train."): value for key, value in point.items() if key[:6] == "train."
    }
    own: dict[str, Any] = {key: value for key, value in point.items() if key[:6] != "train."}
    right = np.zeros(len(labels), dtype=bool)
    folds = StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=split)
    for train_rows, valid_rows in folds.split(labels, labels, groups):
        data = FoldData(
            store=arm.store,
            train_rows=train_rows,
            valid_rows=valid_rows,
            labels=labels,
            n_classes=int(labels.max()) + 1,
        )
        trained = train_network(
            architecture=arm.architecture,
            config=plugin.Config(**{**own, **arm.config}),
            train_config=TrainConfig(**train, max_epochs=epochs),
            data=data,
            seed=seed,
            keep="last",
            on_epoch=lambda epoch, metrics: False,
            log_dir=None,
        )
        right[valid_rows] = trained.proba.argmax(axis=1) == labels[valid_rows]
    return right


if __name__ == "__main__":
    sys.exit(main())
