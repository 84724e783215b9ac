"""Crash-test cases: runs sweeps that are killed and resumed, and checks their invariants."""

import csv
import hashlib
import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy

NAME = "s"
N_TRIALS, N_JOBS = 3, 2
"""The trials and finalist jobs of `driver.SWEEP`."""

TIMING = ("elapsed_s", "train_s", "valid_s", "wall_s", "resumed_after", "n_lost", "n_preempted")
RESOURCES = ("left_out", "peak_bytes")
"""Facts that differ from run to run, or with the free disk space and memory."""


class Row(NamedTuple):
    """One row of the ledger."""

    state: str
    reason: str
    facts: str

    def reproducible(self) -> dict[str, Any]:
        """The part that is the same for the same seed."""
        facts = json.loads(self.facts)
        return {
            "state": self.state,
            **{k: v for k, v in facts.items() if k not in (*TIMING, *RESOURCES)},
        }


@dataclass
class Sandbox:
    """The folder of one sweep under test: its sweep file, runs, log and acknowledgements.

    `args` are further arguments of its command.
    """

    root: Path
    corpus: Path
    args: list[str] = field(default_factory=list)

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def study(self) -> Path:
        return self.runs / NAME

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def acks(self) -> Path:
        return self.root / "acks"

    @property
    def file(self) -> Path:
        return self.root / f"{NAME}.yaml"

    def set_up(self, write_sweep: Any, *, cache: Path | None) -> None:
        """Writes the sweep file; with `cache`, features need not be extracted."""
        self.root.mkdir(parents=True)
        write_sweep(self.file, corpus=self.corpus, runs=self.runs)
        if cache is not None:
            shutil.copytree(cache, self.runs / "cache")

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query; none where its tables do not exist yet."""
        path = self.runs / "chorale.db"
        if not path.exists():
            return []
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
            try:
                return db.execute(sql).fetchall()
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):
                    return []
                raise

    def rows(self) -> dict[tuple[str, str], Row]:
        """Every acknowledged training run, by stage and key."""
        found = self.query("select stage, key, state, reason, facts from chorale_trials")
        return {(stage, key): Row(*rest) for stage, key, *rest in found}

    def command(self) -> list[str]:
        """The command that continues it: `sweep`, `sweep --resume` or `resume`."""
        if not self.query("select name from chorale_studies"):
            return ["sweep", str(self.file), *self.args]
        if not (self.study / "sweep.yaml").exists():
            return ["sweep", str(self.file), *self.args, "--resume"]
        return ["resume", NAME, "--runs", str(self.runs), *self.args]

    def unfinished_epochs(self) -> dict[tuple[str, str], int]:
        """The saved epochs of each training run that is not acknowledged."""
        found = {}
        for numbers in self.study.glob("*/**/state/state.json"):
            stage, *parts = numbers.parent.parent.relative_to(self.study).parts
            key = ("search", str(int(parts[0])))
            if stage == "finalists":
                _, fold, _, seed = parts[1].split("-")
                key = ("finalists", f"{int(parts[0])}/{fold}/{seed}")
            found[key] = int(json.loads(numbers.read_text())["numbers"]["epoch"])
        return {key: epochs for key, epochs in found.items() if key not in self.rows()}


def acknowledged(sandbox: Sandbox) -> list[tuple[str, str]]:
    """The runs that the ledger has acknowledged to a driver, once per acknowledgement."""
    if not sandbox.acks.exists():
        return []
    return [(stage, key) for stage, key in map(str.split, sandbox.acks.read_text().splitlines())]


def lost_rows(before: Mapping[tuple[str, str], Row], sandbox: Sandbox) -> list[str]:
    """Acknowledged runs that are missing or changed."""
    after = sandbox.rows()
    missing = [f"{key} is lost" for key in acknowledged(sandbox) if key not in after]
    return missing + [f"{key} was changed" for key, row in before.items() if after.get(key) != row]


def reproducible_results(sandbox: Sandbox) -> dict[tuple[str, str], dict[str, Any]]:
    """The part of each completed run that is the same for the same seed.

    Without the rows of lost attempts: they depend on when the process was killed.
    """
    return {key: row.reproducible() for key, row in sandbox.rows().items() if key[0] != "attempts"}


def duplicate_runs(sandbox: Sandbox) -> list[str]:
    """Runs that were acknowledged more than once."""
    return [f"{key} {n} times" for key, n in Counter(acknowledged(sandbox)).items() if n > 1]


def inconsistent_trials(sandbox: Sandbox) -> list[str]:
    """Optuna's trials that still run, or whose state differs from the ledger's row."""
    stored = sandbox.query("select number, state from trials order by number")
    ours = {
        int(key): row.state for (stage, key), row in sandbox.rows().items() if stage == "search"
    }
    found = [f"trial {number} is {state}" for number, state in stored if ours.get(number) != state]
    if [number for number, _ in stored] != list(range(len(ours))):
        found.append(f"Optuna has trials {stored}, the ledger has {sorted(ours)}")
    return found


def problems(sandbox: Sandbox, *, n_trials: int = N_TRIALS, n_jobs: int = N_JOBS) -> list[str]:
    """All violated invariants of a complete sweep."""
    rows = sandbox.rows()
    stages = [stage for stage, _ in rows]
    found = inconsistent_trials(sandbox)
    if (stages.count("search"), stages.count("finalists")) != (n_trials, n_jobs):
        found.append(f"runs in the ledger: {sorted(rows)}")
    ends = {"attempts": "LOST"}  # an attempt that was killed has a row, and was retried
    found += [
        f"{key} is {row.state}"
        for key, row in rows.items()
        if row.state != ends.get(key[0], "COMPLETE")
    ]
    if sandbox.query("select state, holder from chorale_studies") != [("complete", None)]:
        found.append(f"study: {sandbox.query('select state, holder from chorale_studies')}")
    found += [f"{path} remains" for path in sandbox.study.glob("**/state")]
    found += _bad_files(sandbox, {key: row for key, row in rows.items() if key[0] not in ends})
    report = json.loads((sandbox.study / "report.json").read_text())
    counts = {name: report["trials"][name] for name in ("complete", "pruned", "failed")}
    if sum(counts.values()) != n_trials:
        found.append(f"report: {counts}")
    return found


def _bad_files(sandbox: Sandbox, rows: Mapping[tuple[str, str], Row]) -> list[str]:
    """Files under final names that are missing, truncated or wrong."""
    found = []
    paths = list(sandbox.study.glob("**/predictions.safetensors"))
    if len(paths) != len(rows):
        found.append(f"{len(paths)} prediction files for {len(rows)} runs")
    for path in paths:
        for name, tensor in safetensors.numpy.load_file(path).items():
            valid = np.isfinite(tensor).all()
            if name.endswith("proba"):
                valid &= np.allclose(tensor.sum(axis=1), 1, atol=1e-3)
            if not valid:
                found.append(f"{path}: {name}")
    cards = list(sandbox.study.glob("finalists/**/card.json"))
    for path in cards:
        card = json.loads(path.read_text())
        kept = [p.name for p in path.parent.glob("weights-*")]
        if kept != [card["weights"]] or _sha256(path.parent / card["weights"]) != card["sha256"]:
            found.append(f"{path}: {kept}")
    if len(cards) != sum(stage == "finalists" for stage, _ in rows):
        found.append(f"{len(cards)} checkpoints")
    for path in sandbox.study.glob("**/*.json"):
        if not path.name.startswith(".") and not _is_json(path):  # dots begin temporary names
            found.append(f"{path} is truncated")
    with (sandbox.study / "leaderboard.csv").open() as file:
        if len(list(csv.DictReader(file))) != sum(stage == "search" for stage, _ in rows):
            found.append("leaderboard.csv")
    return found


def digests(sandbox: Sandbox) -> dict[str, str]:
    """The hashes of all weights and predictions of a sweep."""
    files = [*sandbox.study.glob("**/predictions.safetensors"), *sandbox.study.glob("**/weights-*")]
    return {str(path.relative_to(sandbox.study)): _tensor_hash(path) for path in sorted(files)}


def _tensor_hash(path: Path) -> str:
    """The hash of the file's tensors; the order of the entries in its header is random."""
    tensors = safetensors.numpy.load_file(path)
    data = b"".join(name.encode() + tensors[name].tobytes() for name in sorted(tensors))
    return hashlib.sha256(data).hexdigest()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text())
    except ValueError:
        return False
    return True
