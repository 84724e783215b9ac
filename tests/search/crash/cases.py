"""A sweep that is killed and resumed: runs it, and says all that is wrong afterwards. No test."""

import csv
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy

DRIVER = Path(__file__).parent / "driver.py"
NAME = "s"
N_TRIALS, N_JOBS = 3, 2
"""Of `driver.SWEEP`."""

TIMING = ("elapsed_s", "train_s", "valid_s", "wall_s", "resumed_after", "n_lost")
ROOM = ("left_out", "peak_bytes")
"""What differs from run to run, or with the room on the disk and in memory."""


class Row(NamedTuple):
    """One row of the ledger."""

    state: str
    reason: str
    facts: str

    def same(self) -> dict[str, Any]:
        """What the same seed gives again."""
        known = json.loads(self.facts)
        return {
            "state": self.state,
            **{k: v for k, v in known.items() if k not in (*TIMING, *ROOM)},
        }


def environment() -> dict[str, str]:
    """Of a driver: one thread, so that its bits are the same."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


class Driver:
    """A process that runs one sweep after the other, each in a fork of its own."""

    def __enter__(self) -> "Driver":
        self._process = subprocess.Popen(
            [sys.executable, str(DRIVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        return self

    @staticmethod
    def run_alone(words: list[str], *, log: Path, **case: Any) -> subprocess.Popen[bytes]:
        """Starts one command in a process of its own, as Ray needs it."""
        with log.open("ab") as file:
            words = [sys.executable, str(DRIVER), json.dumps({"words": words, **case})]
            return subprocess.Popen(words, stdout=file, stderr=file, env=environment())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()

    def run(self, words: list[str], *, log: Path, **case: Any) -> int:
        """Runs one command, which dies as `case` says; its exit code, or minus the signal."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the driver has no pipes")
        self._process.stdin.write(json.dumps({"words": words, "log": str(log), **case}) + "\n")
        self._process.stdin.flush()
        return int(json.loads(self._process.stdout.readline()))


@dataclass
class Place:
    """The folder of one killed sweep."""

    root: Path
    corpus: Path
    words: list[str] = field(default_factory=list)

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
        """Writes the sweep file; with `cache`, features are there already."""
        self.root.mkdir(parents=True)
        write_sweep(self.file, corpus=self.corpus, runs=self.runs)
        if cache is not None:
            shutil.copytree(cache, self.runs / "cache")

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """What the database says; nothing where its tables are not made yet."""
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
        """What goes on with it: `sweep`, `sweep --resume` or `resume`, as far as it came."""
        if not self.query("select name from chorale_studies"):
            return ["sweep", str(self.file), *self.words]
        if not (self.study / "sweep.yaml").exists():
            return ["sweep", str(self.file), *self.words, "--resume"]
        return ["resume", NAME, "--runs", str(self.runs), *self.words]

    def states(self) -> dict[tuple[str, str], int]:
        """The epochs of each training state that belongs to a run that is not acknowledged."""
        found = {}
        for numbers in self.study.glob("*/**/state/state.json"):
            stage, *parts = numbers.parent.parent.relative_to(self.study).parts
            key = ("search", str(int(parts[0])))
            if stage == "finalists":
                _, fold, _, seed = parts[1].split("-")
                key = ("finalists", f"{int(parts[0])}/{fold}/{seed}")
            found[key] = int(json.loads(numbers.read_text())["numbers"]["epoch"])
        return {key: epochs for key, epochs in found.items() if key not in self.rows()}


def acknowledged(place: Place) -> list[tuple[str, str]]:
    """The runs that the ledger has acknowledged to a driver, as often as it did."""
    if not place.acks.exists():
        return []
    return [(stage, key) for stage, key in map(str.split, place.acks.read_text().splitlines())]


def lost(before: Mapping[tuple[str, str], Row], place: Place) -> list[str]:
    """Acknowledged runs that are gone or changed."""
    after = place.rows()
    gone = [f"{key} is lost" for key in acknowledged(place) if key not in after]
    return gone + [f"{key} was changed" for key, row in before.items() if after.get(key) != row]


def results(place: Place) -> dict[tuple[str, str], dict[str, Any]]:
    """What the same seed gives again, of each run that came to its end.

    Attempts that a fault cut short are booked beside them, and hang on when it came.
    """
    return {key: row.same() for key, row in place.rows().items() if key[0] != "attempts"}


def run_twice(place: Place) -> list[str]:
    """Runs that were acknowledged, and acknowledged again."""
    return [f"{key} {n} times" for key, n in Counter(acknowledged(place)).items() if n > 1]


def zombies(place: Place) -> list[str]:
    """What still counts as running, or ended without a row of ours, or otherwise."""
    stored = place.query("select number, state from trials order by number")
    ours = {int(key): row.state for (stage, key), row in place.rows().items() if stage == "search"}
    found = [f"trial {number} is {state}" for number, state in stored if ours.get(number) != state]
    if [number for number, _ in stored] != list(range(len(ours))):
        found.append(f"Optuna has trials {stored}, we have {sorted(ours)}")
    return found


def problems(place: Place, *, n_trials: int = N_TRIALS, n_jobs: int = N_JOBS) -> list[str]:
    """All that is wrong with a sweep that is over."""
    rows = place.rows()
    stages = [stage for stage, _ in rows]
    found = zombies(place)
    if (stages.count("search"), stages.count("finalists")) != (n_trials, n_jobs):
        found.append(f"runs in the ledger: {sorted(rows)}")
    ends = {"attempts": "LOST"}  # what the fault cut short is booked, and was tried again
    found += [
        f"{key} is {row.state}"
        for key, row in rows.items()
        if row.state != ends.get(key[0], "COMPLETE")
    ]
    if place.query("select state, holder from chorale_studies") != [("complete", None)]:
        found.append(f"study: {place.query('select state, holder from chorale_studies')}")
    found += [f"{path} is left" for path in place.study.glob("**/state")]
    found += _bad_files(place, {key: row for key, row in rows.items() if key[0] not in ends})
    report = json.loads((place.study / "report.json").read_text())
    counts = {name: report["trials"][name] for name in ("complete", "pruned", "failed")}
    if sum(counts.values()) != n_trials:
        found.append(f"report: {counts}")
    return found


def _bad_files(place: Place, rows: Mapping[tuple[str, str], Row]) -> list[str]:
    """Files under final names that are missing, cut off or not what they should be."""
    found = []
    banks = list(place.study.glob("**/predictions.safetensors"))
    if len(banks) != len(rows):
        found.append(f"{len(banks)} bank files for {len(rows)} runs")
    for path in banks:
        for name, tensor in safetensors.numpy.load_file(path).items():
            whole = np.isfinite(tensor).all()
            if name.endswith("proba"):
                whole &= np.allclose(tensor.sum(axis=1), 1, atol=1e-3)
            if not whole:
                found.append(f"{path}: {name}")
    cards = list(place.study.glob("finalists/**/card.json"))
    for path in cards:
        card = json.loads(path.read_text())
        kept = [p.name for p in path.parent.glob("weights-*")]
        if kept != [card["weights"]] or _sha256(path.parent / card["weights"]) != card["sha256"]:
            found.append(f"{path}: {kept}")
    if len(cards) != sum(stage == "finalists" for stage, _ in rows):
        found.append(f"{len(cards)} checkpoints")
    for path in place.study.glob("**/*.json"):
        if not path.name.startswith(".") and not _is_json(path):  # those are temporary names
            found.append(f"{path} is cut off")
    with (place.study / "leaderboard.csv").open() as file:
        if len(list(csv.DictReader(file))) != sum(stage == "search" for stage, _ in rows):
            found.append("leaderboard.csv")
    return found


def digests(place: Place) -> dict[str, str]:
    """What a sweep found, to the bit: weights and predictions."""
    files = [*place.study.glob("**/predictions.safetensors"), *place.study.glob("**/weights-*")]
    return {str(path.relative_to(place.study)): _tensors(path) for path in sorted(files)}


def _tensors(path: Path) -> str:
    """Of what is in the file: the order of its header's entries is random."""
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
