"""Time to fit each ensemble kind, and of `chorale ensemble`, on a simulated prediction bank.

    python tests/benchmarks/bench_ensembles.py [--members 100] [--tracks 1000] [--classes 10]

The bank holds members of different skill with partly shared errors; the embeddings of each fold's
network have their own axes. In seconds, one process; cross-fitting fits each kind six times.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from chorale.datasets import plugins
from chorale.datasets.atomic import write_json, write_text
from chorale.datasets.splitting.split import Split
from chorale.search import ensembles
from chorale.search.cli import main
from chorale.search.config.schema import EnsembleConfig, SweepConfig, sweep_yaml_text
from chorale.search.evaluation.members import fit_ensemble, read_member
from chorale.search.ledger import predictions
from chorale.search.ledger.ground_truth import GroundTruth, read_ground_truth, write_ground_truth
from chorale.search.ledger.ledger import Ledger, Row
from chorale.search.ledger.predictions import PredictionPart
from chorale.search.ledger.stages import Job
from chorale.search.paths import Runs

N_FOLDS = 5
WIDTH = 64
ARCHITECTURES = ("cnn", "crnn", "recurrent", "mobilenet")


def make_study(
    runs: Path,
    *,
    n_members: int,
    n_tracks: int,
    n_classes: int,
    width: int = WIDTH,
    skill: float = 1.0,
    name: str = "banked",
    ensemble: dict[str, Any] | None = None,
) -> SweepConfig:
    """Writes a complete study without audio or networks: ledger, split, bank and a stub report.

    A fifth of the tracks, in groups of four, is the test set.
    """
    rng = np.random.default_rng(0)
    ids = [f"t{i:05d}" for i in range(n_tracks)]
    group = np.arange(n_tracks) // 4
    labels = (group % n_classes).astype(np.int64)
    block = group // n_classes  # one group of each class
    is_test = block % 5 == 4
    fold = (block - block // 5) % N_FOLDS
    split = Split(
        tuple(i for i, out in zip(ids, is_test, strict=True) if out),
        {i: int(f) for i, f, out in zip(ids, fold, is_test, strict=True) if not out},
        "simulated", N_FOLDS, 0,
    )  # fmt: skip
    sweep = SweepConfig(
        dataset={"name": "folder", "root": "nowhere"}, name=name, runs=str(runs),
        ensemble=EnsembleConfig(members=n_members, **(ensemble or {})),
    )  # fmt: skip
    paths = Runs(runs).study(name)
    label_of = dict(zip(ids, map(int, labels), strict=True))
    group_of = {i: f"g{g}" for i, g in zip(ids, group, strict=True)}
    names = tuple(f"genre{c}" for c in range(n_classes))
    write_ground_truth(paths, GroundTruth(names, split, label_of, group_of))
    write_json(paths.split_json, split.to_json())
    write_text(paths.sweep_yaml, sweep_yaml_text(sweep))
    write_json(paths.report_json, {"study": name, "baselines": {}, "seed": 0})
    row_of = {track: i for i, track in enumerate(ids)}
    hard = rng.normal(size=(n_tracks, n_classes))  # errors that all members share
    ledger = Ledger(sweep.ledger_url)
    ledger.create(name, {})
    for number in range(n_members):
        own = rng.normal(size=(n_tracks, n_classes)) + hard
        own += skill * rng.uniform(0.7, 1.3) * 2 * np.eye(n_classes)[labels]
        proba = np.exp(own) / np.exp(own).sum(axis=1, keepdims=True)
        facts = {"architecture": ARCHITECTURES[number % len(ARCHITECTURES)]}
        ledger.record(name, "search", Row(str(number), "COMPLETE", facts=facts))
        valid = PredictionPart(split.valid_ids(0), proba[[row_of[i] for i in split.valid_ids(0)]])
        predictions.write_predictions(
            paths.trial(number).predictions, {"valid": valid}, split=split.hash
        )
        for one in range(N_FOLDS):
            embeddings = np.tanh(own @ rng.normal(size=(n_classes, width))).astype(np.float32)
            parts = {}
            for part, track_ids in (("valid", split.valid_ids(one)), ("test", split.test_ids)):
                rows = [row_of[i] for i in track_ids]
                parts[part] = PredictionPart(track_ids, proba[rows], embeddings[rows])
            where = paths.finalist(number, fold=one, seed=0).predictions
            predictions.write_predictions(where, parts, split=split.hash)
            ledger.record(name, "finalists", Row(f"{number}/{one}/0", "COMPLETE"))
    ledger.release(name, "complete", spent_s=0.0)
    ledger.close()
    return sweep


def bench() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("members", 100), ("tracks", 1000), ("classes", 10)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    sizes = {f"n_{name}": value for name, value in vars(args).items()}
    with tempfile.TemporaryDirectory() as folder:
        # --tracks is the number of development tracks
        sizes["n_tracks"] = sizes["n_tracks"] * 5 // 4
        sweep = make_study(Path(folder), **sizes)
        truth = read_ground_truth(sweep.paths)
        if truth is None:
            raise RuntimeError("the study has no ground truth")
        began = time.perf_counter()
        jobs = {n: [Job(n, f, 0) for f in range(N_FOLDS)] for n in range(args.members)}
        members = [read_member(sweep.paths, truth.split, n, mine) for n, mine in jobs.items()]
        table = Table(title=f"{args.members} members x {args.tracks} tracks x {args.classes}")
        for column in ("kind", "fit and cross-fit, s", "held-out accuracy", "fitted", "test"):
            table.add_column(column, justify="left" if column == "kind" else "right")
        table.add_row("(reading the bank)", f"{time.perf_counter() - began:.2f}", "", "", "")
        labels = truth.labels(truth.split.development_ids)
        true = truth.labels(truth.split.test_ids)
        for kind in plugins.plugin_names(ensembles):
            began = time.perf_counter()
            one = fit_ensemble(kind, members, truth, seed=0)
            took_s = time.perf_counter() - began
            parts = ((one.out_of_fold, labels), (one.fitted, labels), (one.test, true))
            accuracies = [f"{np.mean(p.argmax(axis=1) == y):.1%}" for p, y in parts]
            table.add_row(kind, f"{took_s:.2f}", *accuracies)
        Console(width=100).print(table)
        for kinds in ("soft_vote,weighted_vote,greedy,stacking", "fusion"):
            began = time.perf_counter()
            code = main(["ensemble", sweep.name, "--runs", folder, "--kinds", kinds])
            took_s = time.perf_counter() - began
            found = json.loads(sweep.paths.report_json.read_text())
            print(f"chorale ensemble --kinds {kinds}: {took_s:.1f} s, exit code {code}, chose "
                  f"{found['ensemble']['kind']}, look {found['test_looks']}")  # fmt: skip


if __name__ == "__main__":
    bench()
