"""Startup cost: CPU seconds of user errors, short commands, and of a sweep up to its first trial.

    python tests/benchmarks/bench_startup.py [--python PATH --tree FOLDER]... [--rounds N] [--whole]
                                             [--corpus FOLDER] [--only WORDS]

Each pair of an interpreter and a checkout is measured in turn in every round, so that other load on
the machine affects all alike. Prints the median of the rounds and, for two pairs, the ratio of the
first to the second. CPU seconds are those of the command and of all processes that it starts,
daemons included: a process that outlives its parent becomes a child of the measuring process.

`--whole` also measures a start without corpus and features, which takes minutes. `--corpus` is the
folder of an existing corpus of the demo (`--dataset.root`), so that no checkout has to generate it.

CPU time of the fork server's children is lost once they have ended, so a start is measured when it
is reached, and the other commands must start no fork server.
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
"""Linux: orphaned descendants become children of this process (prctl.h)."""

POLL_S = 0.02
N_CLIPS = 34


@dataclass(frozen=True)
class Case:
    """A command, with {place} for the checkout's folder; `until` is a file that marks its start."""

    name: str
    args: str
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
FIRST_TRIAL = Case(
    "to the first trial", START + "runs --name again", "runs/again/trials/*/config.yaml"
)
NO_CORPUS = Case(
    "  with corpus and features to generate",
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


def measure(until: str, command: Sequence[str]) -> int:
    """Runs a command, until a file `until` exists if given; prints CPU and wall time as JSON."""
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
    """CPU seconds of all descendants of this process, ended ones included."""
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
class Checkout:
    """A checkout, its interpreter, and a folder for its files."""

    python: str
    root: Path
    place: Path

    def run(self, case: Case) -> dict[str, float]:
        args = [arg.format(place=self.place) for arg in case.args.split()]
        until = str(self.place / case.until) if case.until else ""
        call = [sys.executable, __file__, "--measured", until, self.python, "-m", "search", *args]
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(call, cwd=self.root, env=env, stdout=subprocess.PIPE, check=True)
        found: dict[str, float] = json.loads(done.stdout)
        return found

    def prepare(self, corpus: str | None) -> None:
        """Creates the files of the cases: a corpus with features, a study, its bundle, clips."""
        (self.place / "empty").mkdir(parents=True)
        if corpus is not None:
            (self.place / "corpus").symlink_to(Path(corpus).resolve())
        (self.place / "bad.yaml").write_text("dataset: {name: folder\nbudget: [")
        good = f"dataset: {{name: folder, root: {self.place}/clips}}\n"
        (self.place / "good.yaml").write_text(good)
        (self.place / "tiny.yaml").write_text(TINY.format(place=self.place))
        for args in (
            "sweep {place}/tiny.yaml --runs {place}/runs",
            "export tiny --runs {place}/runs",
        ):
            if code := self.run(Case("preparation", args))["code"]:
                raise SystemExit(f"{self.root}: '{args}' ended with {code}")
        clips = sorted((self.place / "small").glob("*/*/*.wav"))
        for clip in clips[:N_CLIPS]:
            there = self.place / "clips" / clip.parent.name
            there.mkdir(parents=True, exist_ok=True)
            shutil.copy(clip, there)
        shutil.copy(clips[0], self.place / "clip.wav")
        self.run(_renamed(FIRST_TRIAL, "warm"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", action="append", default=[])
    parser.add_argument("--tree", action="append", default=[])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--corpus")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--whole", action="store_true", help="also a start without a corpus")
    args = parser.parse_args()
    here = Path(__file__).resolve().parents[2]
    pairs = list(zip(args.python, args.tree, strict=True)) or [(sys.executable, str(here))]
    every = [*MISTAKES, *SHORT, FIRST_TRIAL, *([NO_CORPUS] if args.whole else [])]
    cases = [case for case in every if args.only in case.name]
    with tempfile.TemporaryDirectory(prefix="startup-") as folder:
        checkouts = [
            Checkout(python, Path(root).resolve(), Path(folder) / str(i))
            for i, (python, root) in enumerate(pairs)
        ]
        for checkout in checkouts:
            checkout.prepare(args.corpus)
        found: dict[tuple[str, int], list[dict[str, float]]] = {}
        for number in range(args.rounds):
            for case in cases:
                for i, checkout in enumerate(checkouts):
                    name = f"again{number}" if case is FIRST_TRIAL else f"new{number}"
                    one = _renamed(case, name) if case.until else case
                    found.setdefault((case.name, i), []).append(checkout.run(one))
                    shutil.rmtree(checkout.place / "new", ignore_errors=True)
    _show(cases, checkouts, found)
    return 0


def _renamed(case: Case, name: str) -> Case:
    """A start under another study name, so that no study resumes another's files."""
    old = case.args.rsplit(" ", 1)[1]
    return Case(
        case.name, case.args.removesuffix(old) + name, case.until.replace(f"/{old}/", f"/{name}/")
    )


def _show(
    cases: Sequence[Case],
    checkouts: Sequence[Checkout],
    found: dict[tuple[str, int], list[dict[str, float]]],
) -> None:
    for i, checkout in enumerate(checkouts):
        print(f"[{i}] {checkout.root} with {checkout.python}")
    heads = "".join(f"  [{i}] CPU-s  wall s  exit" for i in range(len(checkouts)))
    print(f"{'':<34}{heads}{'   [0]/[1]' if len(checkouts) == 2 else ''}")
    for case in cases:
        cells, cpus = "", []
        for i in range(len(checkouts)):
            runs = found[case.name, i]
            cpu_s, wall_s = (statistics.median(r[k] for r in runs) for k in ("cpu_s", "wall_s"))
            codes = "/".join(sorted({f"{run['code']:g}" for run in runs}))
            cells += f"  {cpu_s:9.2f}  {wall_s:6.1f}  {codes:>4}"
            cpus.append(cpu_s)
        ratio = f"  {cpus[0] / cpus[1]:8.1f}" if len(cpus) == 2 else ""
        print(f"{case.name:<34}{cells}{ratio}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measured"]:
        sys.exit(measure(sys.argv[2], sys.argv[3:]))
    sys.exit(main())
