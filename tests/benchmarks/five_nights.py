"""End-to-end test of `chorale nightly`: five nights on the synthetic corpus. Prints a table.

    python tests/benchmarks/five_nights.py [FOLDER]

Night 1 makes the first champion; night 3 has new artists; on night 4 labels are corrupted, first so
that the data diff must refuse them, then in development tracks only and with the data diff switched
off, so that the drift check must; night 5 has a smaller budget. Prints a table and the path of the
trend page; exits with 1 where a night did not end as expected.
"""

import csv
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from chorale.datasets.catalog import synthetic
from chorale.search.ledger.reader import LedgerReader

N_TRACKS, N_ARTISTS, LATE = 240, 8, 2
"""Of ten genres; the last two artists of each come on night 3."""
CLIP_S = 3.0
LIMIT_MIN = 25.0

NIGHTLY = """
dataset: {{name: folder, root: {root}, manifest: manifest.csv}}
features: {{mel: {{n_mels: 64}}}}
architectures: [cnn]
space:
  train: {{batch_size: {{choice: [16, 32]}}}}
  cnn: {{kernel: 3, width: {{choice: [16, 32]}}}}
budget: {{trials: 10, max_epochs: 12}}
train: {{balance: none}}
split: {{test: 0.25}}
finalists: {{configs: 2, folds: 3}}
ensemble: {{kinds: [soft_vote, greedy]}}
cluster: {{address: none}}
runs: {runs}
"""


@dataclass(frozen=True)
class NightRun:
    """One run of the command: what it tests, its exit code, its record and duration."""

    what: str
    code: int
    record: dict[str, Any]
    took_s: float

    @property
    def ending(self) -> str:
        """The verdict, or the state of a night that was not done."""
        state = str(self.record["state"])
        return str(self.record["verdict"]) if state == "done" else state.upper()


class Corpus:
    """The audio of all five nights, and the manifest of the tracks of a night."""

    def __init__(self, folder: Path) -> None:
        """Generates the audio."""
        self.root = folder / "music"
        config = synthetic.Config(
            root=str(folder / "made"), n_tracks=N_TRACKS, n_artists=N_ARTISTS, clip_s=CLIP_S
        )
        self.tracks = synthetic.tracks(config)
        for row in self.tracks.itertuples():
            place = self.root / f"{row.track_id}.wav"
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(row.path), place)
        artists = self.tracks.groupby("label")["group"].unique()
        self.late = {group for groups in artists for group in sorted(groups)[-LATE:]}

    def write_manifest(
        self, *, late: bool, corrupted: float = 0.0, unchanged: Sequence[str] = ()
    ) -> None:
        """Writes the manifest, with a share of `corrupted` labels outside of `unchanged` tracks."""
        rng, labels = random.Random(0), sorted(set(self.tracks["label"]))
        with (self.root / "manifest.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("path", "label", "group"))
            for row in self.tracks.itertuples():
                name, label = f"{row.track_id}.wav", str(row.label)
                if row.group in self.late and not late:
                    continue
                if rng.random() < corrupted and name not in unchanged:
                    label = rng.choice([one for one in labels if one != label])
                writer.writerow((name, label, row.group))


def run_night(file: Path, runs: Path, night: str, what: str, *args: str) -> NightRun:
    """Runs the command as a scheduler would."""
    print(f"\n=== {night}: {what}", flush=True)
    began = time.perf_counter()
    command = [
        sys.executable,
        "-m",
        "chorale.search",
        "nightly",
        str(file),
        "--night",
        night,
        *args,
    ]
    code = subprocess.run(command, check=False).returncode
    took_s = time.perf_counter() - began
    record = runs / "nightly" / file.stem / "nights" / night / "night.json"
    return NightRun(what, code, json.loads(record.read_text()), took_s)


def time_to_score(runs: Path, study: str, score: float) -> float | None:
    """Seconds of a study's trials, in order, until one reached a score; None if none did."""
    ledger = LedgerReader(f"sqlite:///{runs / 'chorale.db'}")
    spent_s = 0.0
    try:
        for _, row in sorted(ledger.rows(study, "search").items(), key=lambda one: int(one[0])):
            spent_s += float(row.facts.get("elapsed_s", 0.0))
            if row.state == "COMPLETE" and row.facts["metrics"]["accuracy"] >= score:
                return spent_s
    finally:
        ledger.close()
    return None


def best_accuracy(runs: Path, study: str) -> tuple[float, float]:
    """The best accuracy of a study's trials, and the seconds of all of them."""
    ledger = LedgerReader(f"sqlite:///{runs / 'chorale.db'}")
    try:
        rows = ledger.rows(study, "search").values()
    finally:
        ledger.close()
    done = [row.facts["metrics"]["accuracy"] for row in rows if row.state == "COMPLETE"]
    return max(done), sum(float(row.facts.get("elapsed_s", 0.0)) for row in rows)


def main() -> int:
    """Runs the nights; returns the exit code."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="five-nights-"))
    folder.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    corpus, runs, file = Corpus(folder), folder / "runs", folder / "five.yaml"
    file.write_text(NIGHTLY.format(root=corpus.root, runs=runs))
    locked = runs / "nightly" / "five" / "locked.json"

    corpus.write_manifest(late=False)
    done = [run_night(file, runs, "2026-11-01", "the first champion")]
    done.append(run_night(file, runs, "2026-11-02", "the same data"))
    corpus.write_manifest(late=True)
    done.append(run_night(file, runs, "2026-11-03", "new artists"))
    pointer = runs / "champions" / "five" / "champion.json"
    champion = pointer.read_text()
    corpus.write_manifest(late=True, corrupted=0.4)
    done.append(run_night(file, runs, "2026-11-04", "corrupted labels, seen by the data diff"))
    tests = list(json.loads(locked.read_text())["tracks"])
    corpus.write_manifest(late=True, corrupted=0.6, unchanged=tests)
    no_diff = ("--changes.max_relabelled", "1.0")
    done.append(
        run_night(file, runs, "2026-11-04", "corrupted labels, seen by the drift check", *no_diff)
    )
    kept = pointer.read_text() == champion
    corpus.write_manifest(late=True)
    smaller = ("--budget.trials", "2", "--budget.max_epochs", "1", "--earlier", "0")
    done.append(run_night(file, runs, "2026-11-05", "a smaller budget", *smaller))
    minutes = (time.perf_counter() - began) / 60

    first, second = done[0].record["study"], done[1].record["study"]
    score, all_s = best_accuracy(runs, first)
    until_s = time_to_score(runs, second, score)
    expected = ("PROMOTED", None, None, "REFUSED", "REFUSED", "KEPT")
    as_expected = [
        want is None or one.ending == want for one, want in zip(done, expected, strict=True)
    ]
    ends = [one.record["state"] == "done" for one in done[:3]]
    fast = until_s is not None and until_s <= all_s / 3

    table = Table(title="five nights", title_justify="left")
    for name in ("night", "what", "verdict", "exit", "took", "why"):
        table.add_column(name)
    for one in done:
        night, took = str(one.record["date"]), f"{one.took_s:.0f} s"
        table.add_row(night, one.what, one.ending, str(one.code), took, str(one.record["reason"]))
    out = Console(width=160, highlight=False)
    out.print(table, markup=False)
    reached = "never" if until_s is None else f"after {until_s:.0f} s"
    out.print(f"night 1 reached {score:.1%} in {all_s:.0f} s of trials; night 2 {reached}: {fast}")
    out.print(f"the champion was kept while labels were corrupted: {kept}")
    out.print(f"the nights took {minutes:.1f} min, allowed are {LIMIT_MIN:g}")
    out.print(f"see {runs / 'nightly' / 'five' / 'trend.html'}")
    return 0 if all(as_expected) and all(ends) and kept and fast and minutes <= LIMIT_MIN else 1


if __name__ == "__main__":
    sys.exit(main())
