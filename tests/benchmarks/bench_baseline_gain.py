"""What more rows bring to a baseline, and how `fold_averaging` estimates it without a label.

    python tests/benchmarks/bench_baseline_gain.py --runs FOLDER [--splits 2]

Reads the studies called `statistics-*` that `bench_honest.py --arms statistics` left in FOLDER.
Their tracks are split anew, baselines are fitted, and the accuracy of the last model on test rows
is compared with that of the fold models; the gain that is told is that of these models' mean.
Prints points, with the standard error over studies.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from chorale.datasets.splitting.group_split import draw_folds, draw_test
from chorale.datasets.splitting.split import Split
from chorale.datasets.store.feature_store import FeatureStore
from chorale.lightning_models.metrics import accuracy
from chorale.search.baselines.baselines import run_baselines
from chorale.search.ledger.ground_truth import read_truth
from chorale.search.paths import StudyPaths
from chorale.search.statistics.calibration import temperature
from chorale.search.statistics.fold_averaging import of_folds

N_FOLDS, TEST_SHARE, FIRST_SEED = 3, 0.25, 100


def gains_of(folder: Path, *, seed: int) -> dict[str, tuple[float, float]]:
    """Baseline -> its true gain and the one that is told, in points, of one split."""
    truth = read_truth(StudyPaths(folder))
    assert truth is not None
    (name,) = json.loads((folder / "stores.json").read_text())
    store = FeatureStore.open(folder.parent / "cache" / Path(name).name)
    ids = sorted({*truth.split.development_ids, *truth.split.test_ids})
    y, groups = truth.labels(ids), np.unique(truth.groups(ids), return_inverse=True)[1]
    test = draw_test(y, groups, share=TEST_SHARE, keep=N_FOLDS, seed=seed)
    assert test is not None
    rest = np.flatnonzero(~test)
    of_rest = np.unique(groups[rest], return_inverse=True)[1]
    folds = draw_folds(y[rest], of_rest, n_folds=N_FOLDS, seed=seed)
    fold_of = {ids[row]: int(fold) for row, fold in zip(rest, folds, strict=True)}
    split = Split(tuple(ids[row] for row in np.flatnonzero(test)), fold_of, "", N_FOLDS, seed)
    labels = np.zeros(len(store.offsets) - 1, np.int64)
    labels[store.rows(ids)] = y
    found = {}
    for one in run_baselines(store, labels=labels, split=split, seed=seed).made:
        by_fold, right = np.stack(one.test_by_fold), y[test]
        each = float(np.mean([accuracy(fold, right) for fold in by_fold]))
        at = temperature(one.oof_proba, labels[store.rows(split.development_ids)])
        told = of_folds(by_fold, at, one.test_proba).gain
        found[one.name] = 100 * (accuracy(one.test_proba, right) - each), 100 * told
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="What more rows bring to a baseline")
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--splits", type=int, default=2)
    asked = parser.parse_args()
    studies = sorted(asked.runs.glob("statistics-*/"))
    found: dict[str, list[list[tuple[float, float]]]] = {}
    for folder in studies:
        seeds = range(FIRST_SEED, FIRST_SEED + asked.splits)
        each = [gains_of(folder, seed=seed) for seed in seeds]
        for name in each[0]:
            found.setdefault(name, []).append([one[name] for one in each])
        print(f"{folder.name}: {asked.splits} splits", flush=True)
    for name, of_studies in found.items():
        means = np.mean(of_studies, axis=1)  # (n_studies, 2)
        true, told = means.mean(axis=0)
        errors = means.std(axis=0, ddof=1) / np.sqrt(len(means))
        print(f"{name:20} true {true:.1f} ± {errors[0]:.1f}, told {told:.1f} ± {errors[1]:.1f}")


if __name__ == "__main__":
    main()
