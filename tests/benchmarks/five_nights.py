"""Five real nights on the synthetic corpus: `python tests/benchmarks/five_nights.py [FOLDER]`.

Night 1 makes the champion; on night 3 new artists come; on night 4 labels are damaged, first so
that the audit must say so, then in development tracks alone with the audit told to look away, so
that the sentinel must; night 5 has a worse budget. Prints a table and where the trend page is;
exits with 1 where a night ended otherwise than it should.
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
class Done:
    """A night that was called: what it was to show, its exit code, its record, how long it took."""

    what: str
    code: int
    record: dict[str, Any]
    took_s: float

    @property
    def word(self) -> str:
        """How it ended."""
        state = str(self.record["state"])
        return str(self.record["verdict"]) if state == "done" else state.upper()


class Corpus:
    """The audio of all five nights, and the manifest that says what is there tonight."""

    def __init__(self, folder: Path) -> None:
        """Composes it."""
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

    def offer(self, *, late: bool, damaged: float = 0.0, but: Sequence[str] = ()) -> None:
        """Writes the manifest; a share of the labels, `but` those of some tracks, is wrong."""
        rng, labels = random.Random(0), sorted(set(self.tracks["label"]))
        with (self.root / "manifest.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("path", "label", "group"))
            for row in self.tracks.itertuples():
                name, label = f"{row.track_id}.wav", str(row.label)
                if row.group in self.late and not late:
                    continue
                if rng.random() < damaged and name not in but:
                    label = rng.choice([one for one in labels if one != label])
                writer.writerow((name, label, row.group))


def call(file: Path, runs: Path, night: str, what: str, *words: str) -> Done:
    """Calls the command as a scheduler would."""
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
        *words,
    ]
    code = subprocess.run(command, check=False).returncode
    took_s = time.perf_counter() - began
    record = runs / "nightly" / file.stem / "nights" / night / "night.json"
    return Done(what, code, json.loads(record.read_text()), took_s)


def reached(runs: Path, study: str, score: float) -> float | None:
    """Seconds that a study's trials, one after another, took until one reached a score."""
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


def best(runs: Path, study: str) -> tuple[float, float]:
    """The best accuracy of a study's trials, and the seconds that all of them took."""
    ledger = LedgerReader(f"sqlite:///{runs / 'chorale.db'}")
    try:
        rows = ledger.rows(study, "search").values()
    finally:
        ledger.close()
    done = [row.facts["metrics"]["accuracy"] for row in rows if row.state == "COMPLETE"]
    return max(done), sum(float(row.facts.get("elapsed_s", 0.0)) for row in rows)


def main() -> int:
    """Runs the nights; gives the exit code."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="five-nights-"))
    folder.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    corpus, runs, file = Corpus(folder), folder / "runs", folder / "five.yaml"
    file.write_text(NIGHTLY.format(root=corpus.root, runs=runs))
    locked = runs / "nightly" / "five" / "locked.json"

    corpus.offer(late=False)
    done = [call(file, runs, "2026-11-01", "the first champion")]
    done.append(call(file, runs, "2026-11-02", "the same data"))
    corpus.offer(late=True)
    done.append(call(file, runs, "2026-11-03", "new artists"))
    pointer = runs / "champions" / "five" / "champion.json"
    champion = pointer.read_text()
    corpus.offer(late=True, damaged=0.4)
    done.append(call(file, runs, "2026-11-04", "damaged labels, the audit looks"))
    tests = list(json.loads(locked.read_text())["tracks"])
    corpus.offer(late=True, damaged=0.6, but=tests)
    look_away = ("--changes.max_relabelled", "1.0")
    done.append(call(file, runs, "2026-11-04", "damaged labels, only the sentinel", *look_away))
    stayed = pointer.read_text() == champion
    corpus.offer(late=True)
    worse = ("--budget.trials", "2", "--budget.max_epochs", "1", "--earlier", "0")
    done.append(call(file, runs, "2026-11-05", "a worse budget", *worse))
    minutes = (time.perf_counter() - began) / 60

    first, second = done[0].record["study"], done[1].record["study"]
    score, all_s = best(runs, first)
    until_s = reached(runs, second, score)
    wanted = ("PROMOTED", None, None, "REFUSED", "REFUSED", "KEPT")
    right = [want is None or one.word == want for one, want in zip(done, wanted, strict=True)]
    ends = [one.record["state"] == "done" for one in done[:3]]
    fast = until_s is not None and until_s <= all_s / 3

    table = Table(title="five nights", title_justify="left")
    for name in ("night", "what", "verdict", "exit", "took", "why"):
        table.add_column(name)
    for one in done:
        night, took = str(one.record["date"]), f"{one.took_s:.0f} s"
        table.add_row(night, one.what, one.word, str(one.code), took, str(one.record["reason"]))
    out = Console(width=160, highlight=False)
    out.print(table, markup=False)
    told = "never" if until_s is None else f"after {until_s:.0f} s"
    out.print(f"night 1 reached {score:.1%} in {all_s:.0f} s of trials; night 2 {told}: {fast}")
    out.print(f"the champion stayed while labels were damaged: {stayed}")
    out.print(f"all of it took {minutes:.1f} min, allowed are {LIMIT_MIN:g}")
    out.print(f"see {runs / 'nightly' / 'five' / 'trend.html'}")
    return 0 if all(right) and all(ends) and stayed and fast and minutes <= LIMIT_MIN else 1


if __name__ == "__main__":
    sys.exit(main())
