"""What a command costs before it is of use: CPU-seconds of mistakes, of short commands, of a start.

    python tests/benchmarks/bench_startup.py [--python PATH --tree FOLDER]... [--rounds N] [--whole]
                                             [--corpus FOLDER] [--only WORDS]

Each pair of an interpreter and a checkout is measured, one after the other in every round, so that
whatever else the machine does is alike for all; the median of the rounds is shown, and for two
pairs how many times more the first one needs. CPU-seconds are those of the command and of all that
it starts, daemons too: what outlives its parent becomes a child of the process that measures.

`--whole` also measures a start without corpus and features, which takes minutes. `--corpus` is
where the demo's corpus lies already (`--dataset.root`), so that no tree has to compose it.

What the fork server's children took is lost once they have ended, so CPU-seconds of a start are
taken at its moment, and other commands must have none.
"""

import argparse
import ctypes
import glob
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

PR_SET_CHILD_SUBREAPER = 36
"""Linux: orphans below this process become its own children (prctl.h)."""

POLL_S = 0.02
N_CLIPS = 34


@dataclass(frozen=True)
class Case:
    """A command, with {place} for this tree's folder, and the files that say that it has begun."""

    name: str
    words: str
    until: str = ""


SWEEP = "sweep {place}/good.yaml --runs {place}/runs"
START = "sweep demo --dataset.root {place}/corpus --runs {place}/"
MISTAKES = (
    Case("wrong folder", SWEEP + " --dataset.root /nowhere"),
    Case("folder without audio", SWEEP + " --dataset.root {place}/empty"),
    Case("wrong key", SWEEP + " --buget.trials 3"),
    Case("wrong type", SWEEP + " --budget.trials many"),
    Case("unknown architecture", SWEEP + " --architectures [cn]"),
    Case("unknown parameter", SWEEP + " --space.cnn.widht 3"),
    Case("bad YAML", "sweep {place}/bad.yaml"),
    Case("missing file", "sweep {place}/nothing.yaml"),
    Case("unknown command", "swep"),
    Case("unknown study: status", "status nothing --runs {place}/runs"),
    Case("unknown study: resume", "resume nothing --runs {place}/runs"),
    Case("study that exists", SWEEP + " --name tiny"),
    Case("wrong bundle", "predict {place}/clip.wav --bundle {place}/empty"),
)
SHORT = (
    Case("--help", "--help"),
    Case(f"data check, {N_CLIPS} clips", "data check folder --root {place}/clips"),
    Case("predict, one clip", "predict {place}/clip.wav --bundle {place}/runs/tiny/bundle"),
)
AGAIN = Case("to the first trial", START + "runs --name again", "runs/again/trials/*/config.yaml")
WHOLE = Case(
    "  corpus and features to be made",
    "sweep demo --dataset.root {place}/new --runs {place}/new --name new",
    "new/new/trials/*/config.yaml",
)
TINY = """\
dataset: {{name: synthetic, root: {place}/small, n_tracks: 40, n_artists: 4}}
features: {{mel: {{n_mels: 32}}}}
architectures: [cnn]
split: {{test: 0.25}}
budget: {{trials: 1, max_epochs: 2}}
finalists: {{configs: 1, folds: 2}}
cluster: {{address: none}}
"""


def measured(until: str, command: Sequence[str]) -> int:
    """Runs a command (up to the moment when there is a file `until`); prints what it took."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found: dict[str, float] = {}
    while until and process.poll() is None and not found:
        time.sleep(POLL_S)
        if glob.glob(until):  # noqa: PTH207 - an absolute pattern
            found = {"cpu_s": _cpu_s(), "wall_s": time.perf_counter() - began}
            process.send_signal(signal.SIGINT)
    code = process.wait()
    wall_s = time.perf_counter() - began
    while True:
        try:
            os.wait()
        except ChildProcessError:
            break
    print(json.dumps({"cpu_s": _cpu_s(), "wall_s": wall_s, "code": code} | found))
    return 0


def _cpu_s() -> float:
    """CPU-seconds of everything below this process, what has ended included."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = ended.ru_utime + ended.ru_stime
    for process in psutil.Process().children(recursive=True):
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


@dataclass(frozen=True)
class Tree:
    """A checkout, the interpreter that it runs with, and a folder for what it makes."""

    python: str
    root: Path
    place: Path

    def run(self, case: Case) -> dict[str, float]:
        words = [word.format(place=self.place) for word in case.words.split()]
        until = str(self.place / case.until) if case.until else ""
        call = [sys.executable, __file__, "--measured", until, self.python, "-m", "search", *words]
        bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(call, cwd=self.root, env=bare, stdout=subprocess.PIPE, check=True)
        found: dict[str, float] = json.loads(done.stdout)
        return found

    def prepare(self, corpus: str | None) -> None:
        """A corpus with its features, a study, its bundle, and clips: what the cases are about."""
        (self.place / "empty").mkdir(parents=True)
        if corpus is not None:
            (self.place / "corpus").symlink_to(Path(corpus).resolve())
        (self.place / "bad.yaml").write_text("dataset: {name: folder\nbudget: [")
        good = f"dataset: {{name: folder, root: {self.place}/clips}}\n"
        (self.place / "good.yaml").write_text(good)
        (self.place / "tiny.yaml").write_text(TINY.format(place=self.place))
        for words in (
            "sweep {place}/tiny.yaml --runs {place}/runs",
            "export tiny --runs {place}/runs",
        ):
            if code := self.run(Case("preparation", words))["code"]:
                raise SystemExit(f"{self.root}: '{words}' ends with {code}")
        clips = sorted((self.place / "small").glob("*/*/*.wav"))
        for clip in clips[:N_CLIPS]:
            there = self.place / "clips" / clip.parent.name
            there.mkdir(parents=True, exist_ok=True)
            shutil.copy(clip, there)
        shutil.copy(clips[0], self.place / "clip.wav")
        self.run(_numbered(AGAIN, "warm"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", action="append", default=[])
    parser.add_argument("--tree", action="append", default=[])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--corpus")
    parser.add_argument("--only", default="", help="cases with these words in their name")
    parser.add_argument("--whole", action="store_true", help="also a start without a corpus")
    given = parser.parse_args()
    here = Path(__file__).resolve().parents[2]
    pairs = list(zip(given.python, given.tree, strict=True)) or [(sys.executable, str(here))]
    every = [*MISTAKES, *SHORT, AGAIN, *([WHOLE] if given.whole else [])]
    cases = [case for case in every if given.only in case.name]
    with tempfile.TemporaryDirectory(prefix="startup-") as folder:
        trees = [
            Tree(python, Path(root).resolve(), Path(folder) / str(i))
            for i, (python, root) in enumerate(pairs)
        ]
        for tree in trees:
            tree.prepare(given.corpus)
        found: dict[tuple[str, int], list[dict[str, float]]] = {}
        for number in range(given.rounds):
            for case in cases:
                for i, tree in enumerate(trees):
                    name = f"again{number}" if case is AGAIN else f"new{number}"
                    one = _numbered(case, name) if case.until else case
                    found.setdefault((case.name, i), []).append(tree.run(one))
                    shutil.rmtree(tree.place / "new", ignore_errors=True)
    _show(cases, trees, found)
    return 0


def _numbered(case: Case, name: str) -> Case:
    """A start under another name: what a study has left is not what the next one goes on with."""
    old = case.words.rsplit(" ", 1)[1]
    return Case(
        case.name, case.words.removesuffix(old) + name, case.until.replace(f"/{old}/", f"/{name}/")
    )


def _show(
    cases: Sequence[Case],
    trees: Sequence[Tree],
    found: dict[tuple[str, int], list[dict[str, float]]],
) -> None:
    for i, tree in enumerate(trees):
        print(f"[{i}] {tree.root} with {tree.python}")
    heads = "".join(f"  [{i}] CPU-s  wall s  exit" for i in range(len(trees)))
    print(f"{'':<34}{heads}{'   [0]/[1]' if len(trees) == 2 else ''}")
    for case in cases:
        cells, cpus = "", []
        for i in range(len(trees)):
            runs = found[case.name, i]
            cpu_s, wall_s = (statistics.median(r[k] for r in runs) for k in ("cpu_s", "wall_s"))
            codes = "/".join(sorted({f"{run['code']:g}" for run in runs}))
            cells += f"  {cpu_s:9.2f}  {wall_s:6.1f}  {codes:>4}"
            cpus.append(cpu_s)
        ratio = f"  {cpus[0] / cpus[1]:8.1f}" if len(cpus) == 2 else ""
        print(f"{case.name:<34}{cells}{ratio}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measured"]:
        sys.exit(measured(sys.argv[2], sys.argv[3:]))
    sys.exit(main())
