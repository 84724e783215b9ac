"""Augmented views of an encoder's training tracks: the probe trained with and without them.

    python tests/benchmarks/bench_views.py --work FOLDER --esc FOLDER [--encoder birdnet]
        [--views 4] [--splits 5] [--seeds 2] [--epochs 60]

The encoder must have been fetched (`chorale encoder fetch`). For each split the tracks of ESC-50
are divided into 5 folds, disjoint by source recording, and each fold is predicted by
`encoder_probe`, with both of its known-good settings, trained on the other four: once on the
recordings alone, once on all of their views. The weights of the last epoch are kept, so that no
fold chooses anything. Prints the accuracy over all tracks of both, and their difference, paired by
split and seed.
"""

import argparse
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from chorale.datasets.audio import content_hash
from chorale.datasets.base import track_table
from chorale.datasets.features import encoder
from chorale.datasets.store.feature_store import FeatureStore
from chorale.datasets.store.joining import build_store
from chorale.lightning_models.architectures import encoder_probe
from chorale.lightning_models.data.datamodule import FoldData, View
from chorale.lightning_models.train_config import TrainConfig
from chorale.lightning_models.training.fit import train_network

N_FOLDS = 5
NAMES = ("linear probe", "shallow network")
"""The known-good settings of `encoder_probe`, in their order."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="the folder of the feature cache")
    parser.add_argument("--esc", type=Path, required=True, help="folder with one folder per class")
    parser.add_argument("--encoder", default="birdnet")
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=60)
    options = parser.parse_args()
    stores, labels, groups = stores_of(options)
    for number, name in enumerate(NAMES):
        gains = []
        for split in range(options.splits):
            for seed in range(options.seeds):
                plain, viewed = (
                    accuracy(stores[:n], labels, groups, number, split, seed, options.epochs)
                    for n in (1, options.views)
                )
                gains.append(100 * (viewed - plain))
                print(
                    f"{name}, split {split}, seed {seed}: {100 * plain:.1f} % with 1 view, "
                    f"{100 * viewed:.1f} % with {options.views} ({gains[-1]:+.1f})",
                    flush=True,
                )
        each = np.array(gains).reshape(options.splits, options.seeds).mean(axis=1)
        print(
            f"{name}, {options.encoder}: {options.views} views against 1, mean over "
            f"{options.splits} splits {each.mean():+.2f} points, range {each.min():+.2f} to "
            f"{each.max():+.2f}\n",
            flush=True,
        )
    return 0


def stores_of(options: argparse.Namespace) -> tuple[list[FeatureStore], np.ndarray, np.ndarray]:
    """The stores of all views, and the label and the group of each row."""
    rows = []
    for path in sorted(options.esc.rglob("*.flac")):
        group = re.search(r"-(\d+)-[A-Z]-", path.name)
        if group is None:
            raise ValueError(f"{path.name} is not named as the files of ESC-50 are")
        rows.append(
            {
                "track_id": f"{path.parent.name}/{path.name}",
                "path": str(path),
                "label": path.parent.name,
                "group": group[1],
                "duration_s": 5.0,
            }
        )
    tracks = track_table(rows)
    tracks["content"] = [content_hash(path) for path in tracks["path"]]
    config, name = encoder.Config(name=options.encoder), f"encoder-{options.encoder}"
    stores = []
    for view in range(options.views):
        began = time.perf_counter()
        stores.append(build_store(tracks, name, config, root=options.work / "cache", view=view))
        print(f"view {view}: {len(tracks)} tracks, {time.perf_counter() - began:.1f} s", flush=True)
    labels = np.unique(tracks["label"], return_inverse=True)[1].astype(np.int64)
    return stores, labels, tracks["group"].to_numpy(dtype=str)


def accuracy(
    stores: list[FeatureStore],
    labels: np.ndarray,
    groups: np.ndarray,
    number: int,
    split: int,
    seed: int,
    epochs: int,
) -> float:
    """The out-of-fold accuracy of a known-good setting, trained on the views of `stores`."""
    point = encoder_probe.DEFAULTS[number]
    train: dict[str, Any] = {
        key.removeprefix("train."): value for key, value in point.items() if key[:6] == "train."
    }
    own: dict[str, Any] = {key: value for key, value in point.items() if key[:6] != "train."}
    folds = StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=split)
    n_right = 0
    for train_rows, valid_rows in folds.split(labels, labels, groups):
        every = np.arange(len(labels))
        data = FoldData(
            store=stores[0],
            train_rows=train_rows,
            valid_rows=valid_rows,
            labels=labels,
            n_classes=int(labels.max()) + 1,
            views=tuple(View(store, every) for store in stores[1:]),
        )
        settings = TrainConfig(**train, max_epochs=epochs, views=len(stores) > 1)
        trained = train_network(
            architecture="encoder_probe",
            config=encoder_probe.Config(**own),
            train_config=settings,
            data=data,
            seed=seed,
            keep="last",
            on_epoch=lambda epoch, metrics: False,
            log_dir=None,
        )
        n_right += int((trained.proba.argmax(axis=1) == labels[valid_rows]).sum())
    return n_right / len(labels)


if __name__ == "__main__":
    sys.exit(main())
