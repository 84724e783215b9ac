"""Accuracy by time: a default sweep beside AutoGluon and logistic regression, in equal minutes.

    python tests/benchmarks/bench_anytime.py --work FOLDER [--fsdd FOLDER_OR_ZIP] [--esc FOLDER]
        [--autogluon PYTHON] [--data demo fsdd fsdd-table esc] [--minutes 1 3 7 20]

Every cell is `chorale sweep` with nothing but its data and `budget.minutes`. AutoGluon
(`best_quality`, from another environment whose Python is named) gets the same minutes, the same
split, and the statistics of each track that Chorale's baselines read. Results are kept in FOLDER:
a cell that has been measured is not measured again. Differences have a 95 % interval, paired by
track and by group. ESC: the folder of a part of ESC-50, one folder per class.

Goals: every cell ends with a model within its time plus 10 %; never below AutoGluon by more than a
point, above it by 3 on average. Source of AutoGluon: Erickson et al. 2020, arXiv:2003.06505.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chorale.datasets.audio import load_audio
from chorale.datasets.catalog import fsdd, synthetic
from chorale.datasets.features import stats57
from chorale.datasets.store.feature_store import FeatureStore
from chorale.search.baselines.track_statistics import track_statistics
from chorale.search.evaluation.chosen_predictions import read_chosen_predictions
from chorale.search.ledger.ground_truth import GroundTruth, read_ground_truth
from chorale.search.paths import Runs, StudyPaths
from chorale.search.report.report import read_report
from chorale.search.statistics.intervals import proportion_interval
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
    found = subprocess.run(
        [*command, str(work / f"autogluon-{cell.name}")], capture_output=True, text=True
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


def row(cell: Cell, args: argparse.Namespace) -> str:
    """Measures a cell; its line in the table."""
    work = Path(args.work)
    sweep = measured(work / f"{cell.name}.sweep.json", lambda: run_sweep(cell, args))
    head = f"{cell.data:<11}{cell.minutes:>5g}"
    if sweep["exit"]:
        return f"{head}  exit {sweep['exit']} after {sweep['wall_s']:.0f} s"
    paths = study_paths(cell, args)
    report, truth = read_report(paths), ground_truth(paths)
    ids = truth.split.test_ids
    labels, groups = truth.labels(ids), truth.groups(ids)
    test = report["ensemble"]["test"]
    baselines = {name: one["test"]["accuracy"] for name, one in report["baselines"].items()}
    line = (
        f"{head}{sweep['wall_s'] / (60 * cell.minutes):>7.2f}{trials_text(report):>10}"
        f"{100 * test['accuracy']:>8.1f} {interval(test['ci95'])}"
        f"{100 * max(baselines.values()):>7.1f}{100 * baselines.get(REFERENCE, np.nan):>7.1f}"
    )
    if not args.autogluon:
        return line
    other = measured(work / f"{cell.name}.autogluon.json", lambda: run_autogluon(cell, args))
    if "error" in other:
        return f"{line}  AutoGluon: {other['error']}"
    proba = np.array(other["proba"])
    theirs = (proba.argmax(axis=1) == labels).astype(np.float64)
    gain, ends = paired_difference(chosen_proba(paths, truth), proba, labels, groups)
    low, high = proportion_interval(theirs, groups)
    return (
        f"{line}{other['took_s'] / (60 * cell.minutes):>7.2f}{100 * theirs.mean():>7.1f} "
        f"{interval((low, high))}{100 * gain:>+7.1f} {interval(ends)}"
    )


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
        f"{'data':<11}{'min':>5}{'time':>7}{'trials':>10}{'test':>8} {'95 % CI':^16}{'basel.':>7}"
        f"{'log.reg':>7}{'AG time':>7}{'AG':>7} {'95 % CI':^16}{'gain':>7} {'95 % CI':^16}"
    )
    for minutes in args.minutes:
        for data in args.data:
            print(row(Cell(data, minutes), args), flush=True)


if __name__ == "__main__":
    main()
