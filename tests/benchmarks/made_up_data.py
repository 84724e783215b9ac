"""Made-up tables and corpora of many shapes, for `bench_anytime`: sizes, classes, noise, imbalance.

A table's track is a point near one of its class's centres in a small latent space, moved by its
group's offset (its artist), seen through a random smooth map as columns of which some are noise. A
corpus's recording is a chord of its class's partials in noise, in the tuning and level of its
group. A share of the labels is wrong, also in the test set.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
from numpy.typing import NDArray

N_LATENT = 8
SAMPLE_RATE = 16_000


@dataclass(frozen=True)
class Shape:
    """The shape of a data set; `n_columns` 0: a corpus of audio. Classes of equal size, or, with
    `zipf`, of sizes proportional to 1, 1/2, 1/3, ... (at least 10 tracks)."""

    n_tracks: int
    n_columns: int
    n_classes: int
    tracks_per_group: int = 4
    wrong_labels: float = 0.0
    zipf: bool = False
    spread: float = 0.8


SHAPES: Mapping[str, Shape] = {
    "table-60": Shape(60, 20, 2, 2),
    "table-100": Shape(100, 120, 5, 2),
    "table-150": Shape(150, 40, 3),
    "table-240": Shape(240, 57, 4, 8),
    "table-300": Shape(300, 518, 5),
    "table-400": Shape(400, 20, 20, 2),
    "table-500": Shape(500, 120, 10, wrong_labels=0.2),
    "table-800": Shape(800, 57, 10, 20, spread=1.2),
    "table-1000": Shape(1_000, 120, 50, 2),
    "table-1500": Shape(1_500, 57, 10, zipf=True),
    "table-2000": Shape(2_000, 120, 100),
    "table-2500": Shape(2_500, 518, 8, spread=1.2),
    "table-4000": Shape(4_000, 57, 16, wrong_labels=0.3),
    "table-8000": Shape(8_000, 120, 10, 40, spread=1.5),
    "table-12000": Shape(12_000, 20, 30, zipf=True),
    "table-20000": Shape(20_000, 57, 10, spread=1.2),
    "corpus-60": Shape(60, 0, 2, 2),
    "corpus-200": Shape(200, 0, 8),
    "corpus-600": Shape(600, 0, 6, wrong_labels=0.1),
    "corpus-1000": Shape(1_000, 0, 20, zipf=True),
}


def sweep_of(name: str, root: Path) -> dict[str, Any]:
    """The sweep file of a made-up data set, which is written below `root` where it is missing."""
    shape, place = SHAPES[name], root / name
    seed = list(SHAPES).index(name)
    if not shape.n_columns:
        if not place.is_dir():
            _write_corpus(shape, place, np.random.default_rng([seed, 1]))
        return {"dataset": {"name": "folder", "root": str(place), "group": r"/(\d+)-"}}
    file = place.with_suffix(".csv")
    if not file.is_file():
        _table(shape, np.random.default_rng([seed, 0])).to_csv(file, index=False)
    return {"dataset": {"name": "table", "root": str(file), "group": "group"}}


def _classes_and_groups(
    shape: Shape, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The class and the group of each track; every group has one class."""
    shares = 1 / np.arange(1, shape.n_classes + 1) if shape.zipf else np.ones(shape.n_classes)
    counts = np.maximum(10, np.round(shape.n_tracks * shares / shares.sum())).astype(int)
    y = np.repeat(np.arange(shape.n_classes), counts)
    within = np.concatenate([np.arange(n) // shape.tracks_per_group for n in counts])
    _, groups = np.unique(y * len(y) + within, return_inverse=True)
    return y, groups


def _labels(y: NDArray[np.int64], shape: Shape, rng: np.random.Generator) -> list[str]:
    wrong = rng.random(len(y)) < shape.wrong_labels
    seen = np.where(wrong, rng.integers(shape.n_classes, size=len(y)), y)
    return [f"class {one:03}" for one in seen]


def _table(shape: Shape, rng: np.random.Generator) -> pd.DataFrame:
    y, groups = _classes_and_groups(shape, rng)
    centres = rng.normal(0, 1, (shape.n_classes, 2, N_LATENT))  # two kinds of each class
    kind = rng.integers(2, size=len(y))
    offsets = rng.normal(0, 0.5, (groups.max() + 1, N_LATENT))
    latent = centres[y, kind] + offsets[groups] + rng.normal(0, shape.spread, (len(y), N_LATENT))
    hidden = np.tanh(latent @ rng.normal(0, 0.6, (N_LATENT, 32)))
    columns = hidden @ rng.normal(0, 1, (32, shape.n_columns))
    columns += rng.standard_t(4, columns.shape)
    is_noise = rng.random(shape.n_columns) < 0.3
    columns[:, is_noise] = rng.normal(0, 1, (len(y), int(is_noise.sum())))
    scaled = (columns * rng.lognormal(0, 2, shape.n_columns)).astype(np.float32)
    table: pd.DataFrame = pd.DataFrame(scaled).add_prefix("value")
    table["label"] = _labels(y, shape, rng)
    table["group"] = [f"group {one}" for one in groups]
    return table


def _write_corpus(shape: Shape, root: Path, rng: np.random.Generator) -> None:
    y, groups = _classes_and_groups(shape, rng)
    pitch = rng.uniform(80, 800, shape.n_classes)
    partials = rng.dirichlet(np.ones(6), shape.n_classes)
    pulse = rng.uniform(1, 8, shape.n_classes)
    tuning = rng.normal(0, 0.15, groups.max() + 1)
    labels = _labels(y, shape, rng)
    time_s = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
    for i, (label, of, group) in enumerate(zip(labels, y, groups, strict=True)):
        hz = pitch[of] * np.exp(tuning[group] + rng.normal(0, 0.1))
        weights = partials[of] * rng.lognormal(0, 0.5, 6)
        sound = sum(w * np.sin(2 * np.pi * hz * (n + 1) * time_s) for n, w in enumerate(weights))
        envelope = 1 + np.sin(2 * np.pi * pulse[of] * time_s + rng.uniform(0, 6))
        sound = 0.2 * sound * envelope + rng.normal(0, 0.1, len(time_s))
        (root / label).mkdir(parents=True, exist_ok=True)
        path = root / label / f"{group:05}-{i:05}.wav"
        soundfile.write(path, np.clip(sound, -1, 1), SAMPLE_RATE)
