"""Accuracy by time: a default sweep beside AutoGluon and logistic regression, in equal minutes.

    python tests/benchmarks/bench_anytime.py --work FOLDER [--fsdd FOLDER_OR_ZIP] [--esc FOLDER]
        [--autogluon PYTHON] [--data demo fsdd fsdd-table esc] [--minutes 1 3 7 20]

Every cell is `chorale sweep` with nothing but its data and `budget.minutes`. AutoGluon
(`best_quality`, from another environment whose Python is named) gets the same minutes, the same
split, and the statistics of each track that Chorale's baselines read. Results are kept in FOLDER:
a cell that has been measured is not measured again. Differences have a 95 % interval, paired by
track and by group. ESC: the folder of a part of ESC-50, one folder per class.

`--data made-up` are the 20 tables and corpora of `made_up_data`.

Goals: every cell ends with a model within its time plus 10 %; never below AutoGluon by more than a
point, above it by 3 on average; no headline below the best baseline by more than its interval.
Source of AutoGluon: Erickson et al. 2020, arXiv:2003.06505.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from made_up_data import SHAPES, sweep_of  # type: ignore[import-not-found]

from chorale.datasets.audio import load_audio
from chorale.datasets.catalog import fsdd, synthetic
from chorale.datasets.features import stats57
from chorale.datasets.store.feature_store import FeatureStore
from chorale.search.baselines.track_statistics import track_statistics
from chorale.search.evaluation.chosen_predictions import read_chosen_predictions
from chorale.search.evaluation.stored_baselines import read_baselines
from chorale.search.ledger.ground_truth import GroundTruth, read_ground_truth
from chorale.search.paths import Runs, StudyPaths
from chorale.search.report.report import read_report
from chorale.search.statistics.scores import paired_difference

TEST_SPEAKERS = ["theo", "nicolas"]
REFERENCE = "logistic_regression"


@dataclass(frozen=True)
class Cell:
    """One sweep: data and minutes."""

    data: str
    minutes: float

    @property
    def name(self) -> str:
        return f"{self.data}-{self.minutes:g}"


def sweep_values(data: str, args: argparse.Namespace) -> dict[str, Any]:
    """The sweep file of a corpus: its data, and whatever has no default."""
    if data in SHAPES:
        return dict(sweep_of(data, Path(args.work)))
    if data == "demo":
        root = str(Path(args.work) / "synthetic")
        synthetic.tracks(synthetic.Config(root=root))  # generated before the time begins
        return {"dataset": {"name": "synthetic", "root": root}, "split": {"test": 0.25}}
    if data == "esc":
        return {"dataset": {"name": "folder", "root": args.esc, "group": r"-?(\d+)-[A-Z]-"}}
    if data == "fsdd-table":
        columns = {"group": "speaker", "split": "split"}
        return {"dataset": {"name": "table", "root": str(digits_table(args)), **columns}}
    return {
        "dataset": {"name": "fsdd", "root": args.fsdd},
        "split": {"test_groups": TEST_SPEAKERS},
    }


def digits_table(args: argparse.Namespace) -> Path:
    """The spoken digits as a table of 57 statistics per recording, made once."""
    path = Path(args.work) / "digits.csv"
    if not path.is_file():
        config = stats57.Config(sample_rate=8_000)
        tracks = fsdd.tracks(fsdd.Config(root=args.fsdd))
        rows = [
            stats57.extract(load_audio(one, sample_rate=config.sample_rate)[0], config)
            for one in tracks["path"]
        ]
        table = pd.DataFrame(rows).add_prefix("value")
        table["label"] = "digit " + tracks["label"]
        table["speaker"] = tracks["group"]
        table["split"] = np.where(tracks["group"].isin(TEST_SPEAKERS), "test", "train")
        table.to_csv(path, index=False)
    return path


def run_sweep(cell: Cell, args: argparse.Namespace) -> dict[str, Any]:
    """Runs the sweep of a cell in its own process; its exit code and wall time."""
    work = Path(args.work)
    file = work / f"{cell.data}.json"  # JSON is YAML
    file.write_text(json.dumps(sweep_values(cell.data, args)))
    command = [sys.executable, "-m", "chorale.search", "sweep", str(file), "--name", cell.name]
    command += ["--runs", str(work / "runs"), "--budget.minutes", f"{cell.minutes:g}"]
    began = time.perf_counter()
    with (work / f"{cell.name}.log").open("w") as log:
        code = subprocess.run([*command, *args.more], stdout=log, stderr=log).returncode
    return {"exit": code, "wall_s": time.perf_counter() - began}


def run_autogluon(cell: Cell, args: argparse.Namespace) -> dict[str, Any]:
    """Runs AutoGluon on the statistics of the tracks of the cell's study."""
    work, paths = Path(args.work), study_paths(cell, args)
    truth = ground_truth(paths)
    listed = json.loads(paths.baselines_json.read_text())
    (name,) = (
        one
        for one in json.loads(paths.stores_json.read_text())
        if one.rsplit("-", 1)[0] == listed["features"]
    )
    store = FeatureStore.open(Runs(work / "runs").cache / name)
    ids, test_ids = truth.split.development_ids, truth.split.test_ids
    rows = work / f"{cell.name}.npz"
    np.savez(
        rows,
        x=track_statistics(store, store.rows(ids)),
        y=truth.labels(ids),
        x_test=track_statistics(store, store.rows(test_ids)),
        y_test=truth.labels(test_ids),
    )
    arm = Path(__file__).with_name("autogluon_arm.py")
    command = [args.autogluon, str(arm), str(rows), f"{60 * cell.minutes:g}"]
    # Ray gives its workers a niceness of 15: beside other work they would starve
    found = subprocess.run(
        [*command, str(work / f"autogluon-{cell.name}")],
        capture_output=True,
        text=True,
        env={**os.environ, "RAY_worker_niceness": "0"},
    )
    if found.returncode:
        return {"error": found.stderr.strip().splitlines()[-1:]}
    return dict(json.loads(found.stdout.strip().splitlines()[-1]))


def study_paths(cell: Cell, args: argparse.Namespace) -> StudyPaths:
    return Runs(Path(args.work) / "runs").study(cell.name)


def ground_truth(paths: StudyPaths) -> GroundTruth:
    truth = read_ground_truth(paths)
    if truth is None:
        raise FileNotFoundError(paths.root)
    return truth


def measured(path: Path, measure: Any) -> dict[str, Any]:
    """The content of a result file, which is written by `measure` where it is missing."""
    if not path.is_file():
        path.write_text(json.dumps(measure()))
    return dict(json.loads(path.read_text()))


@dataclass(frozen=True)
class Result:
    """What a cell gave: shares of the time, accuracies, and gains with intervals, paired by group.

    `baseline_gain` is over the best of the baselines by test accuracy, so it is pessimistic;
    `gain` over AutoGluon; each is (difference, low, high).
    """

    cell: Cell
    exit: int
    time_share: float
    trials: str = ""
    test: float = math.nan
    ci95: tuple[float, float] = (math.nan, math.nan)
    baselines: Mapping[str, float] = field(default_factory=dict)
    baseline_gain: tuple[float, float, float] | None = None
    other_time_share: float = math.nan
    other: float = math.nan
    gain: tuple[float, float, float] | None = None
    other_error: str = ""

    @property
    def rank(self) -> int:
        """1 where the sweep's accuracy is the best of all, AutoGluon's and each baseline's."""
        every = [*self.baselines.values(), self.other]
        return 1 + sum(one > self.test for one in every)

    def line(self) -> str:
        """The line of the table."""
        head = f"{self.cell.data:<13}{self.cell.minutes:>5g}{self.time_share:>7.2f}"
        if self.exit:
            return f"{head}  exit {self.exit}"
        line = (
            f"{head}{self.trials:>9}{100 * self.test:>7.1f} {interval(self.ci95)}"
            f"{100 * max(self.baselines.values()):>7.1f}"
            f"{100 * self.baselines.get(REFERENCE, np.nan):>8.1f}"
        )
        if self.other_error:
            return f"{line}  AutoGluon: {self.other_error}"
        if self.gain is None:
            return line
        return (
            f"{line}{self.other_time_share:>8.2f}{100 * self.other:>6.1f}"
            f"{100 * self.gain[0]:>+7.1f} {interval(self.gain[1:])}{self.rank:>5}"
        )


def result(cell: Cell, args: argparse.Namespace) -> Result:
    """Measures a cell, or reads what was measured before."""
    work = Path(args.work)
    sweep = measured(work / f"{cell.name}.sweep.json", lambda: run_sweep(cell, args))
    found = Result(cell, sweep["exit"], sweep["wall_s"] / (60 * cell.minutes))
    if sweep["exit"]:
        return found
    paths = study_paths(cell, args)
    report, truth = read_report(paths), ground_truth(paths)
    ids = truth.split.test_ids
    labels, groups = truth.labels(ids), truth.groups(ids)
    proba, test = chosen_proba(paths, truth), report["ensemble"]["test"]
    fitted = read_baselines(paths, truth.split)
    if fitted is None:
        raise FileNotFoundError(paths.baselines_json)
    best = max(fitted.fitted, key=lambda one: (one.test_proba.argmax(axis=1) == labels).mean())
    gain, ends = paired_difference(proba, best.test_proba, labels, groups)
    found = replace(
        found,
        trials=trials_text(report),
        test=test["accuracy"],
        ci95=tuple(test["ci95"]),
        baselines={name: one["test"]["accuracy"] for name, one in report["baselines"].items()},
        baseline_gain=(gain, *ends),
    )
    if not args.autogluon:
        return found
    other = measured(work / f"{cell.name}.autogluon.json", lambda: run_autogluon(cell, args))
    if "error" in other:
        return replace(found, other_error=str(other["error"]))
    theirs = np.array(other["proba"])
    gain, ends = paired_difference(proba, theirs, labels, groups)
    return replace(
        found,
        other_time_share=other["took_s"] / (60 * cell.minutes),
        other=float((theirs.argmax(axis=1) == labels).mean()),
        gain=(gain, *ends),
    )


def summary(results: Sequence[Result]) -> list[str]:
    """What the goals are about, over all cells."""
    ended = [one for one in results if not one.exit]
    late = [one.cell.name for one in results if one.time_share > 1.1]
    worse = [
        one.cell.name for one in ended if one.baseline_gain is not None and one.baseline_gain[2] < 0
    ]
    shares = [one.time_share for one in results]
    lines = [
        f"{len(ended)} of {len(results)} cells ended with a model; time used / given "
        f"{min(shares):.2f} to {max(shares):.2f}, more than 1.10: {', '.join(late) or 'none'}",
        f"worse than the best baseline by more than the interval: {', '.join(worse) or 'none'}",
    ]
    gains = [one.gain[0] for one in ended if one.gain is not None]
    if gains:
        ranks = [one.rank for one in ended if one.gain is not None]
        below = [one.cell.name for one in ended if one.gain is not None and one.gain[0] < -0.01]
        lines += [
            f"gain over AutoGluon: mean {100 * np.mean(gains):+.1f} points, lowest "
            f"{100 * min(gains):+.1f}; below by more than a point: {', '.join(below) or 'none'}",
            f"mean rank beside AutoGluon and the baselines: {np.mean(ranks):.1f}",
        ]
    return lines


def chosen_proba(paths: StudyPaths, truth: GroundTruth) -> np.ndarray:
    """The chosen ensemble's probabilities of the test tracks."""
    found = read_chosen_predictions(paths, truth)
    if found is None:
        raise FileNotFoundError(paths.root)
    return found.test


def trials_text(report: Mapping[str, Any]) -> str:
    states = report["trials"]
    return f"{states['complete']}+{states['pruned']}"


def interval(ends: Sequence[float]) -> str:
    return f"({100 * ends[0]:5.1f} to {100 * ends[1]:5.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", required=True, help="the folder of all results")
    parser.add_argument("--fsdd", help="folder or zip of the spoken digits")
    parser.add_argument("--esc", help="folder of a part of ESC-50")
    parser.add_argument("--autogluon", help="the Python of an environment with AutoGluon")
    parser.add_argument("--data", nargs="+", default=["demo", "fsdd", "fsdd-table", "esc"])
    parser.add_argument("--minutes", nargs="+", type=float, default=[1, 3, 7, 20])
    args, more = parser.parse_known_args()
    args.more = more
    Path(args.work).mkdir(parents=True, exist_ok=True)
    print(
        f"{'data':<13}{'min':>5}{'time':>7}{'trials':>9}{'test':>7} {'95 % CI':^16}{'basel.':>7}"
        f"{'log.reg':>8}{'AG time':>8}{'AG':>6}{'gain':>7} {'95 % CI':^16}{'rank':>5}"
    )
    results = []
    names = [name for one in args.data for name in (SHAPES if one == "made-up" else [one])]
    for minutes in args.minutes:
        for name in names:
            results.append(result(Cell(name, minutes), args))
            print(results[-1].line(), flush=True)
    print("\n".join(summary(results)))


if __name__ == "__main__":
    main()
