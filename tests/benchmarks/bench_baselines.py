"""Cost of the baselines: on the demo's corpus, and on a table of 4,000 rows x 120 columns.

    python tests/benchmarks/bench_baselines.py [--processes 1,2] [--limit SECONDS] [--demo FOLDER]

Prints wall time and the CPU time of all processes, in seconds, for each number of processes, and
checks that the predictions are the same. The demo's corpus and its features are generated and kept
in FOLDER; without one only the table is measured. A child's CPU time counts once it has ended.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from chorale.cluster.transfer.maps import process_map
from chorale.datasets.splitting.split import Split
from chorale.datasets.store.feature_store import FeatureStore
from chorale.search.baselines.baselines import choose_features, run_baselines
from chorale.search.baselines.fitted_baselines import Baselines
from chorale.search.config.resolve import resolve_file
from chorale.search.console.progress import Progress
from chorale.search.data.prepare import prepare

N_ROWS, N_COLUMNS, N_CLASSES, N_FOLDS = 4_000, 120, 8, 4

Data = tuple[dict[str, FeatureStore], np.ndarray, Split]


def synthetic_table(folder: Path) -> Data:
    """Rows in groups of ten, whose class shifts each column's mean; a fifth is the test set."""
    rng = np.random.default_rng(0)
    labels = rng.integers(N_CLASSES, size=N_ROWS)
    rows = rng.normal(size=(N_ROWS, N_COLUMNS))
    rows += 0.35 * rng.normal(size=(N_CLASSES, N_COLUMNS))[labels]
    names = [f"t{i}" for i in range(N_ROWS)]
    (folder / "tracks.json").write_text(json.dumps({"track_ids": names, "contents": names}))
    manifest = {"format": 2, "feature": "table", "recipe_key": "", "frame_rate_hz": 0.0,
                "n_bins": N_COLUMNS, "n_channels": 1}  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    np.save(folder / "frames.npy", rows.astype(np.float32))
    np.save(folder / "offsets.npy", np.arange(N_ROWS + 1))
    side = np.arange(N_ROWS) // 10 % (N_FOLDS + 1)
    test = tuple(name for name, at in zip(names, side, strict=True) if at == 0)
    folds = {name: int(at) - 1 for name, at in zip(names, side, strict=True) if at}
    split = Split(test, folds, "synthetic", N_FOLDS, 0)
    return {"table": FeatureStore.open(folder)}, labels, split


def demo(folder: Path) -> Data:
    """The features of the demo sweep."""
    dataset = {"name": "synthetic", "root": str(folder / "synthetic")}
    resolved = resolve_file("demo", {"runs": str(folder / "runs"), "dataset": dataset})
    with process_map(2) as run:
        prepared = prepare(resolved, Progress(Console()), run)
    stores = {name: FeatureStore.open(path) for name, path in prepared.stores.items()}
    return stores, prepared.labels, prepared.split


def cpu_s() -> float:
    """CPU seconds of this process and of its children that have ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in both)


def measure(data: Data, *, n_processes: int, limit_s: float) -> tuple[Baselines, float, float]:
    """The baselines, seconds of wall time, and CPU seconds."""
    stores, labels, split = data
    began, cpu_before_s = time.perf_counter(), cpu_s()
    with process_map(n_processes) as run:
        name = choose_features(stores, labels=labels, split=split, run=run).name
        fitted = run_baselines(stores[name], labels=labels, split=split, run=run, limit_s=limit_s)
    return fitted, time.perf_counter() - began, cpu_s() - cpu_before_s


def bench() -> None:
    """Prints a table for each corpus."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", default="1,2")
    parser.add_argument("--limit", type=float, default=np.inf)
    parser.add_argument("--demo", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        corpora = {"table": synthetic_table(Path(folder))}
        if args.demo is not None:
            corpora["demo"] = demo(args.demo)
        table = Table(title=f"baselines, limit {args.limit:g} s")
        for column in ("corpus", "processes", "wall, s", "CPU, s", "fits, s", "left out"):
            table.add_column(column, justify="right")
        for corpus, data in corpora.items():
            first: Baselines | None = None
            for n in map(int, args.processes.split(",")):
                baselines, wall_s, spent_cpu_s = measure(data, n_processes=n, limit_s=args.limit)
                left_out = "; ".join(baselines.left_out) or "nothing"
                figures = (f"{wall_s:.1f}", f"{spent_cpu_s:.1f}", f"{baselines.spent_s:.1f}")
                table.add_row(corpus, str(n), *figures, left_out)
                first = first or baselines
                if baselines.left_out == first.left_out:
                    for one, other in zip(baselines.fitted, first.fitted, strict=True):
                        np.testing.assert_array_equal(one.oof_proba, other.oof_proba)
                        np.testing.assert_array_equal(one.test_proba, other.test_proba)
    Console(width=120).print(table)


if __name__ == "__main__":
    bench()
