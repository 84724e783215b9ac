"""Pretrained encoders: the sweep with none, one and two of them, beside plain regressions.

    python tests/benchmarks/bench_encoders.py --work FOLDER --esc FOLDER [--fsdd FOLDER_OR_ZIP]
        [--data esc fsdd] [--splits 5] [--minutes 7] [--arms both birdnet none]

The encoders birdnet and musicnn must have been fetched (`chorale encoder fetch`). Each split is
disjoint by group (the source recording of ESC-50, the speaker of FSDD). Prints for each split the
test accuracy with its 95 % interval of the sweep's chosen ensemble, and of logistic regression on
MFCC statistics, on each encoder's mean vector and on both side by side, and of an SVM on both, all
by scikit-learn, standardized, with C chosen out of fold on the study's folds. Differences to the
better of the two on both are paired by track. What is finished in FOLDER is not run again.

Goals: with both encoders 2 points above the better of the two regressions on average, in no split
more than a point below it.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from chorale.datasets.store.feature_store import FeatureStore
from chorale.search.evaluation.chosen_predictions import read_chosen_predictions
from chorale.search.ledger.ground_truth import GroundTruth, read_ground_truth
from chorale.search.paths import Runs, StudyPaths
from chorale.search.report.report import read_report
from chorale.search.statistics.scores import paired_difference

ARMS = {"both": "birdnet,musicnn", "birdnet": "birdnet", "musicnn": "musicnn", "none": None}
C_VALUES = (0.001, 0.01, 0.1, 1.0, 10.0)
BOTH = "joined-birdnet+musicnn"
REFERENCES = (BOTH, f"{BOTH}, SVM")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="the folder of all results")
    parser.add_argument("--esc", help="folder of a part of ESC-50, one folder per class")
    parser.add_argument("--fsdd", help="folder or zip of the spoken digits")
    parser.add_argument("--data", nargs="+", default=["esc"], choices=["esc", "fsdd"])
    parser.add_argument("--arms", nargs="+", default=["both", "birdnet", "none"], choices=ARMS)
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=7.0)
    options, more = parser.parse_known_args()
    options.more = more
    options.work.mkdir(parents=True, exist_ok=True)
    for data in options.data:
        for arm in options.arms:
            found = [result(data, arm, seed, options) for seed in range(options.splits)]
            print_mean(data, arm, found)
    return 0


def result(data: str, arm: str, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Test accuracies of a split by name, with `gain` over the better reference."""
    paths = swept(data, arm, seed, options)
    truth, report = read_ground_truth(paths), read_report(paths)
    if truth is None:
        raise FileNotFoundError(paths.root)
    chosen = read_chosen_predictions(paths, truth)
    if chosen is None:
        raise FileNotFoundError(paths.root)
    labels = truth.labels(truth.split.test_ids)
    took_s = float((paths.root / "seconds").read_text())
    test = report["ensemble"]["test"]
    low, high = (100 * end for end in test["ci95"])
    trials = report["trials"]
    print(
        f"{data} split {seed}, {arm}: {100 * test['accuracy']:.1f} % ({low:.1f} to {high:.1f}) of "
        f"{len(labels)} tracks, expected {100 * report['expected']['accuracy']:.1f} %, "
        f"{report['ensemble']['kind']}, {trials['complete']}+{trials['pruned']} trials, "
        f"{took_s:.0f} s"
    )
    found = {"chorale": float(test["accuracy"])}
    probas = dict(regressions(paths, truth))
    for name, proba in probas.items():
        found[name] = float((proba.argmax(axis=1) == labels).mean())
        print(f"    {name:<40} {100 * found[name]:5.1f} %")
    rivals = [name for name in probas if name in REFERENCES] or list(probas)
    best = max(rivals, key=lambda one: found[one])
    groups = truth.groups(truth.split.test_ids)
    gain, ends = paired_difference(chosen.test, probas[best], labels, groups)
    print(
        f"    gain over {best}: {100 * gain:+.1f} ({100 * ends[0]:+.1f} to {100 * ends[1]:+.1f})",
        flush=True,
    )
    return {**found, "gain": gain}


def swept(data: str, arm: str, seed: int, options: argparse.Namespace) -> StudyPaths:
    """The study of a split, run in its own process where it is missing."""
    name = f"{data}-{arm}-{seed}-{options.minutes:g}"
    paths = Runs(options.work / "runs").study(name)
    if (paths.root / "seconds").is_file():
        return paths
    command = [sys.executable, "-m", "chorale.search", "sweep", "--name", name]
    command += ["--dataset.name", "folder" if data == "esc" else "fsdd"]
    command += ["--dataset.root", str(options.esc if data == "esc" else options.fsdd)]
    command += ["--dataset.group", r"-?(\d+)-[A-Z]-"] if data == "esc" else []
    command += ["--features.encoder", wanted] if (wanted := ARMS[arm]) else []
    command += ["--split.seed", str(seed), "--search.seed", str(seed)]
    command += ["--budget.minutes", f"{options.minutes:g}", "--runs", str(options.work / "runs")]
    began = time.perf_counter()
    with (options.work / f"{name}.log").open("w") as log:
        subprocess.run([*command, *options.more], check=True, stdout=log, stderr=log)
    (paths.root / "seconds").write_text(str(time.perf_counter() - began))
    return paths


def regressions(paths: StudyPaths, truth: GroundTruth) -> list[tuple[str, NDArray[np.float64]]]:
    """Test probabilities of plain classifiers on the mean vector of each of the study's features.

    Only tables, such as MFCC statistics, and embeddings are read.
    """
    found = []
    for folder in sorted(json.loads(paths.stores_json.read_text())):
        store = FeatureStore.open(paths.root.parent / "cache" / folder)
        if store.frame_rate_hz and not store.feature.startswith(("encoder", "joined")):
            continue
        found.append((store.feature, tuned(LogisticRegression, store, truth)))
        if store.feature == BOTH:
            found.append((f"{BOTH}, SVM", tuned(SVC, store, truth)))
    return found


def tuned(make: Any, store: FeatureStore, truth: GroundTruth) -> NDArray[np.float64]:
    """Test probabilities (scores of an SVM) with the C that is best out of fold."""
    ids, split = list(truth.split.development_ids), truth.split
    x, labels = means(store, ids), truth.labels(ids)
    folds = np.array([split.fold_of[track] for track in ids])

    def fitted(c: float, rows: NDArray[np.bool_]) -> Any:
        limit = {"max_iter": 5_000} if make is LogisticRegression else {}
        return make_pipeline(StandardScaler(), make(C=c, **limit)).fit(x[rows], labels[rows])

    def out_of_fold(c: float) -> float:
        right = [
            (fitted(c, folds != fold).predict(x[folds == fold]) == labels[folds == fold]).sum()
            for fold in np.unique(folds)
        ]
        return float(np.sum(right))

    model = fitted(max(C_VALUES, key=out_of_fold), np.ones(len(ids), bool))
    proba = np.zeros((len(split.test_ids), len(truth.class_names)))
    x_test = means(store, list(split.test_ids))
    if hasattr(model, "predict_proba"):
        proba[:, model.classes_] = model.predict_proba(x_test)
    else:
        proba[:, model.classes_] = np.eye(len(model.classes_))[
            np.searchsorted(model.classes_, model.predict(x_test))
        ]
    return proba


def means(store: FeatureStore, track_ids: list[str]) -> NDArray[np.float64]:
    """The mean frame of each track: (n_tracks, n_bins)."""
    rows = store.rows(track_ids)
    spans = zip(store.offsets[rows], store.offsets[rows + 1], strict=True)
    return np.stack([store.frames[a:b].mean(axis=0, dtype=np.float64) for a, b in spans])


def print_mean(data: str, arm: str, found: list[dict[str, float]]) -> None:
    """The mean of each figure over splits, with its 95 % interval."""
    print(f"\n{data}, {arm}, {len(found)} splits: mean (95 % interval over splits)")
    for name in found[0]:
        values = 100 * np.array([one[name] for one in found])
        n = len(values)
        reach = student.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
        mean = values.mean()
        print(f"  {name:<40} {mean:6.1f} ({mean - reach:.1f} to {mean + reach:.1f})")
    print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
