"""The gain of baselines from more training rows, and its label-free estimate by `fold_averaging`.

    python tests/benchmarks/bench_baseline_gain.py --runs FOLDER [--splits 2]

Reads the studies `statistics-*` that `bench_ensemble_sweeps.py --arms statistics` left in FOLDER.
Their tracks are split again and baselines are fitted. The true gain is the test accuracy of the
model fitted on all development rows, less that of the fold models; the estimate is the gain of the
fold models' mean. Prints percentage points, with the standard error over studies.
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
from chorale.search.ledger.ground_truth import read_ground_truth
from chorale.search.paths import StudyPaths
from chorale.search.statistics.calibration import fit_temperature
from chorale.search.statistics.fold_averaging import estimate_fold_averaging

N_FOLDS, TEST_SHARE, FIRST_SEED = 3, 0.25, 100


def gains_of(folder: Path, *, seed: int) -> dict[str, tuple[float, float]]:
    """Baseline -> its true and its estimated gain for one split, in percentage points."""
    truth = read_ground_truth(StudyPaths(folder))
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
    for one in run_baselines(store, labels=labels, split=split, seed=seed).fitted:
        by_fold, y_test = np.stack(one.test_by_fold), y[test]
        fold_accuracy = float(np.mean([accuracy(fold, y_test) for fold in by_fold]))
        temperature = fit_temperature(one.oof_proba, labels[store.rows(split.development_ids)])
        estimate = estimate_fold_averaging(by_fold, temperature, one.test_proba).gain
        found[one.name] = 100 * (accuracy(one.test_proba, y_test) - fold_accuracy), 100 * estimate
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Gain of baselines from more training rows")
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--splits", type=int, default=2)
    args = parser.parse_args()
    studies = sorted(args.runs.glob("statistics-*/"))
    found: dict[str, list[list[tuple[float, float]]]] = {}
    for folder in studies:
        seeds = range(FIRST_SEED, FIRST_SEED + args.splits)
        splits = [gains_of(folder, seed=seed) for seed in seeds]
        for name in splits[0]:
            found.setdefault(name, []).append([one[name] for one in splits])
        print(f"{folder.name}: {args.splits} splits", flush=True)
    for name, of_studies in found.items():
        means = np.mean(of_studies, axis=1)  # (n_studies, 2)
        true, estimate = means.mean(axis=0)
        errors = means.std(axis=0, ddof=1) / np.sqrt(len(means))
        print(
            f"{name:20} true {true:.1f} ± {errors[0]:.1f}, "
            f"estimated {estimate:.1f} ± {errors[1]:.1f}"
        )


if __name__ == "__main__":
    main()
