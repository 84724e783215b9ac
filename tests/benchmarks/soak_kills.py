"""Soak test: kills sweeps at random instants, resumes them, and counts lost and repeated runs.

    python tests/benchmarks/soak_kills.py --kills 200 --ray 40 --seed 0

Of the kills, `--ray` are on Ray: every second one of a worker, the others of the driver; without
Ray, all are of the one process. Half are SIGKILL, half SIGTERM. Exits with 1 if a run was lost,
repeated, left running or broken. Prints one line per sweep, and the counts.
"""

import argparse
import importlib.util
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

CRASH = Path(__file__).parents[1] / "search" / "crash"
N_TRIALS = 6
LONG = ["--budget.trials", str(N_TRIALS), "--budget.max_epochs", "12"]
"""Settings with which most of a sweep's time is training."""
RAY = [*LONG, "--cluster.address", "local"]
KILLS_A_SWEEP = 5
MAX_WORKER_KILLS = 3
"""Worker kills per process of a sweep: a trial that loses more workers fails by design."""
TIMEOUT_S = 300.0


def load(name: str) -> ModuleType:
    """A file of the crash tests as a module."""
    spec = importlib.util.spec_from_file_location(f"crash_{name}", CRASH / f"{name}.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(CRASH / f"{name}.py")
    module = sys.modules[f"crash_{name}"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Soak:
    """The sweeps of one run of this script, and their counts."""

    def __init__(self, root: Path, driver: Any, cases: ModuleType, *, seed: int) -> None:
        self.root, self.driver, self.cases = root, driver, cases
        self.script = load("driver")
        self.rng = np.random.default_rng(seed)
        self.corpus = root / "corpus"
        self.script.make_corpus(self.corpus)
        self.killed: Counter[str] = Counter()
        self.found: Counter[str] = Counter()
        self.n_acknowledged = 0
        self.uninterrupted: Any = None
        for name in ("first", "uninterrupted"):  # the first one includes the driver's imports
            sandbox = self._sandbox(name, LONG)
            began = time.perf_counter()
            if driver.run(sandbox.command(), log=sandbox.log):
                raise SystemExit(sandbox.log.read_text())
            self.uninterrupted_s = time.perf_counter() - began
        self.uninterrupted = sandbox

    def in_process(self, n_kills: int) -> None:
        """Runs sweeps in one process each, until `n_kills` have been made."""
        left = n_kills
        while left:
            sandbox = self._sandbox(f"local-{self.found['sweeps']}", LONG)
            n_here = 0
            before: dict[Any, Any] = {}
            while n_here < min(KILLS_A_SWEEP, left):
                sign = self._sign()
                after_s = float(self.rng.uniform(0, self.uninterrupted_s))
                case = {"after_s": after_s, "signal": int(sign), "acks": str(sandbox.acks)}
                code = self.driver.run(sandbox.command(), log=sandbox.log, **case)
                if code not in (-sign, 130 if sign == signal.SIGTERM else -sign):
                    self._count("odd exits", [f"exit code {code}"] if code else [], sandbox)
                    break
                n_here += 1
                self.killed[f"driver in process, {sign.name}"] += 1
                before = self._check_rows(sandbox, before)
            left -= n_here
            code = self.driver.run(sandbox.command(), log=sandbox.log, acks=str(sandbox.acks))
            self._check_sweep(sandbox, before, code, n_here)

    def on_ray(self, n_kills: int) -> None:
        """Runs sweeps on Ray; every second kill is of a worker."""
        left = n_kills
        while left:
            sandbox = self._sandbox(f"ray-{self.found['sweeps']}", RAY)
            before: dict[Any, Any] = {}
            n_here, code = 0, None
            while code is None:
                n_workers = min(left - n_here, int(self.rng.integers(0, MAX_WORKER_KILLS)))
                with_driver = n_here + n_workers < min(left, KILLS_A_SWEEP)
                code, n = self._run_process(sandbox, n_workers, with_driver=with_driver)
                n_here += n
                before = self._check_rows(sandbox, before)
            left -= n_here
            self._check_sweep(sandbox, before, code, n_here)

    def _run_process(
        self, sandbox: Any, n_workers: int, *, with_driver: bool
    ) -> tuple[int | None, int]:
        """One process of a sweep: its exit code (None if killed), and the number of kills."""
        for old in sandbox.root.glob("worker-*"):
            old.unlink()
        case = {"folder": str(sandbox.root), "acks": str(sandbox.acks)}
        process = self.driver.run_alone(sandbox.command(), log=sandbox.log, **case)
        deadline = time.monotonic() + TIMEOUT_S
        n = 0
        while n < n_workers and process.poll() is None and time.monotonic() < deadline:
            workers = sorted(sandbox.root.glob("worker-*"))
            if not workers:
                time.sleep(0.02)
                continue
            time.sleep(float(self.rng.uniform(0, 0.3)))
            chosen = workers[int(self.rng.integers(len(workers)))]
            sign = self._sign()
            if chosen.exists():  # if not, its trial has ended
                os.kill(int(chosen.name.partition("-")[2]), sign)
                chosen.unlink(missing_ok=True)
                self.killed[f"worker on Ray, {sign.name}"] += 1
                n += 1
        if with_driver:
            # without a worker kill: at any time from its first import on
            time.sleep(float(self.rng.uniform(0, 2.0 if n else 14.0)))
            if process.poll() is None:
                sign = self._sign()
                process.send_signal(sign)
                code = process.wait(timeout=TIMEOUT_S)
                if code in (-sign, 130):
                    self.killed[f"driver on Ray, {sign.name}"] += 1
                    return None, n + 1
                self._count("odd exits", [f"exit code {code}"] if code else [], sandbox)
        return process.wait(timeout=TIMEOUT_S), n

    def _sandbox(self, name: str, args: list[str]) -> Any:
        sandbox = self.cases.Sandbox(self.root / name, self.corpus, args)
        # every third sweep also extracts its features
        fresh = self.uninterrupted is None or self.found["sweeps"] % 3 == 0
        sandbox.set_up(
            self.script.write_sweep, cache=None if fresh else self.uninterrupted.runs / "cache"
        )
        return sandbox

    def _sign(self) -> signal.Signals:
        return signal.SIGKILL if self.rng.random() < 0.5 else signal.SIGTERM

    def _check_rows(self, sandbox: Any, before: dict[Any, Any]) -> dict[Any, Any]:
        """Checks after a kill that acknowledged rows are there; returns the present rows."""
        self._count("lost", self.cases.lost_rows(before, sandbox), sandbox)
        return dict(sandbox.rows())

    def _check_sweep(self, sandbox: Any, before: dict[Any, Any], code: int, n_kills: int) -> None:
        """Checks a sweep that has ended."""
        cases = self.cases
        self.found["sweeps"] += 1
        rows = sandbox.rows()
        self.n_acknowledged += len(rows)
        if code:
            self._count("unfinished", [f"exit code {code}"], sandbox)
            return
        self._count("lost", cases.lost_rows(before, sandbox), sandbox)
        self._count("run twice", cases.duplicate_runs(sandbox), sandbox)
        self._count("inconsistent trials", cases.inconsistent_trials(sandbox), sandbox)
        self._count("other problems", cases.problems(sandbox, n_trials=N_TRIALS), sandbox)
        if sandbox.args != RAY:
            expected = cases.reproducible_results(self.uninterrupted)
            results = cases.reproducible_results(sandbox)
            different = [f"{k} differs" for k, one in results.items() if one != expected[k]]
            if cases.digests(sandbox) != cases.digests(self.uninterrupted):
                different.append("weights or predictions differ")
            self._count("different results", different, sandbox)
        ended = [json.loads(row.facts) for (stage, _), row in rows.items() if stage != "attempts"]
        resumed = sum(facts.get("resumed_after", 0) > 0 for facts in ended)
        self.found["resumed from a state"] += resumed
        print(f"{sandbox.root.name}: {n_kills} kills, {len(rows)} runs, {resumed} of them resumed")
        if not self.n_failures():
            shutil.rmtree(sandbox.root)

    def _count(self, what: str, problems: list[str], sandbox: Any) -> None:
        self.found[what] += len(problems)
        for problem in problems:
            print(f"{sandbox.root.name}: {what}: {problem}; see {sandbox.log}")

    def n_failures(self) -> int:
        """The number of failures."""
        no_failures = ("sweeps", "resumed from a state")
        return sum(n for what, n in self.found.items() if what not in no_failures)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="in all")
    parser.add_argument("--ray", type=int, default=40, help="how many of them under Ray")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    cases = load("cases")
    # short, since Ray's socket paths start with it; a killed driver does not remove them
    root = Path(tempfile.mkdtemp(prefix="soak-"))
    os.environ["TMPDIR"] = str(root)
    with load("driver").Driver() as driver:
        soak = Soak(root, driver, cases, seed=args.seed)
        soak.in_process(args.kills - args.ray)
        soak.on_ray(args.ray)
    print(f"\nseed {args.seed}: {soak.killed.total()} kills")
    for what, n in sorted(soak.killed.items()):
        print(f"  {n:>4} of the {what}")
    print(
        f"  {soak.n_acknowledged:>4} acknowledged runs in {soak.found['sweeps']} sweeps, of which"
    )
    for what in ("resumed from a state", "lost", "run twice", "inconsistent trials"):
        print(f"  {soak.found[what]:>4} {what}")
    for what in ("unfinished", "odd exits", "other problems", "different results"):
        print(f"  {soak.found[what]:>4} {what}")
    if soak.n_failures():
        print(f"files are kept in {root}")
        return 1
    shutil.rmtree(root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
