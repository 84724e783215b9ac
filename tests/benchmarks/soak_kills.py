"""Kills sweeps at random instants, resumes them, and counts what was lost or paid for twice.

    python tests/benchmarks/soak_kills.py --kills 200 --ray 40 --seed 0

Of the kills, `--ray` are under Ray: every second one of a worker, the others of the driver, which
is all that there is in process. Half are SIGKILL, half SIGTERM. Exits with 1 if anything was lost,
run twice, left running or broken. Prints one line a sweep, and the counts.
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
"""So that most of a sweep's time is training."""
RAY = [*LONG, "--cluster.address", "local"]
KILLS_A_SWEEP = 5
MAX_WORKER_KILLS = 3
"""In one sitting: were one trial to lose more workers, it would rightly fail."""
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
    """All sweeps of one run of this script, and what was found."""

    def __init__(self, root: Path, driver: Any, cases: ModuleType, *, seed: int) -> None:
        self.root, self.driver, self.cases = root, driver, cases
        self.script = load("driver")
        self.rng = np.random.default_rng(seed)
        self.corpus = root / "corpus"
        self.script.make_corpus(self.corpus)
        self.killed: Counter[str] = Counter()
        self.found: Counter[str] = Counter()
        self.n_acknowledged = 0
        self.whole: Any = None
        for name in ("first", "whole"):  # the first one waits for what the driver imports
            place = self._place(name, LONG)
            began = time.perf_counter()
            if driver.run(place.command(), log=place.log):
                raise SystemExit(place.log.read_text())
            self.whole_s = time.perf_counter() - began
        self.whole = place

    def in_process(self, n_kills: int) -> None:
        """Sweeps in one process each, until `n_kills` have hit one."""
        left = n_kills
        while left:
            place = self._place(f"local-{self.found['sweeps']}", LONG)
            n_here = 0
            before: dict[Any, Any] = {}
            while n_here < min(KILLS_A_SWEEP, left):
                sign = self._sign()
                after_s = float(self.rng.uniform(0, self.whole_s))
                case = {"after_s": after_s, "signal": int(sign), "acks": str(place.acks)}
                code = self.driver.run(place.command(), log=place.log, **case)
                if code not in (-sign, 130 if sign == signal.SIGTERM else -sign):
                    self._note("odd exits", [f"exit code {code}"] if code else [], place)
                    break
                n_here += 1
                self.killed[f"driver in process, {sign.name}"] += 1
                before = self._look(place, before)
            left -= n_here
            code = self.driver.run(place.command(), log=place.log, acks=str(place.acks))
            self._judge(place, before, code, n_here)

    def on_ray(self, n_kills: int) -> None:
        """Sweeps under Ray; every second kill is of a worker."""
        left = n_kills
        while left:
            place = self._place(f"ray-{self.found['sweeps']}", RAY)
            before: dict[Any, Any] = {}
            n_here, code = 0, None
            while code is None:
                n_workers = min(left - n_here, int(self.rng.integers(0, MAX_WORKER_KILLS)))
                with_driver = n_here + n_workers < min(left, KILLS_A_SWEEP)
                code, n = self._sitting(place, n_workers, with_driver=with_driver)
                n_here += n
                before = self._look(place, before)
            left -= n_here
            self._judge(place, before, code, n_here)

    def _sitting(self, place: Any, n_workers: int, *, with_driver: bool) -> tuple[int | None, int]:
        """One process of a sweep: its exit code, None where it was killed; and the kills."""
        for old in place.root.glob("worker-*"):
            old.unlink()
        case = {"folder": str(place.root), "acks": str(place.acks)}
        process = self.driver.run_alone(place.command(), log=place.log, **case)
        give_up = time.monotonic() + TIMEOUT_S
        n = 0
        while n < n_workers and process.poll() is None and time.monotonic() < give_up:
            workers = sorted(place.root.glob("worker-*"))
            if not workers:
                time.sleep(0.02)
                continue
            time.sleep(float(self.rng.uniform(0, 0.3)))
            chosen = workers[int(self.rng.integers(len(workers)))]
            sign = self._sign()
            if chosen.exists():  # else it has ended, and waits for the next trial
                os.kill(int(chosen.name.partition("-")[2]), sign)
                chosen.unlink(missing_ok=True)
                self.killed[f"worker on Ray, {sign.name}"] += 1
                n += 1
        if with_driver:
            # where no worker was killed, anywhere from its first import on
            time.sleep(float(self.rng.uniform(0, 2.0 if n else 14.0)))
            if process.poll() is None:
                sign = self._sign()
                process.send_signal(sign)
                code = process.wait(timeout=TIMEOUT_S)
                if code in (-sign, 130):
                    self.killed[f"driver on Ray, {sign.name}"] += 1
                    return None, n + 1
                self._note("odd exits", [f"exit code {code}"] if code else [], place)
        return process.wait(timeout=TIMEOUT_S), n

    def _place(self, name: str, words: list[str]) -> Any:
        place = self.cases.Place(self.root / name, self.corpus, words)
        # every third one extracts its features, too
        fresh = self.whole is None or self.found["sweeps"] % 3 == 0
        place.set_up(self.script.write_sweep, cache=None if fresh else self.whole.runs / "cache")
        return place

    def _sign(self) -> signal.Signals:
        return signal.SIGKILL if self.rng.random() < 0.5 else signal.SIGTERM

    def _look(self, place: Any, before: dict[Any, Any]) -> dict[Any, Any]:
        """After a kill: what was acknowledged must be there; gives what is there now."""
        self._note("lost", self.cases.lost(before, place), place)
        return dict(place.rows())

    def _judge(self, place: Any, before: dict[Any, Any], code: int, n_kills: int) -> None:
        """At the end of a sweep."""
        cases = self.cases
        self.found["sweeps"] += 1
        rows = place.rows()
        self.n_acknowledged += len(rows)
        if code:
            self._note("unfinished", [f"exit code {code}"], place)
            return
        self._note("lost", cases.lost(before, place), place)
        self._note("run twice", cases.run_twice(place), place)
        self._note("zombies", cases.zombies(place), place)
        self._note("other problems", cases.problems(place, n_trials=N_TRIALS), place)
        if place.words != RAY:
            same = cases.results(self.whole)
            other = [f"{k} differs" for k, one in cases.results(place).items() if one != same[k]]
            if cases.digests(place) != cases.digests(self.whole):
                other.append("other weights or predictions")
            self._note("other bits", other, place)
        ended = [json.loads(row.facts) for (stage, _), row in rows.items() if stage != "attempts"]
        resumed = sum(facts.get("resumed_after", 0) > 0 for facts in ended)
        self.found["resumed from a state"] += resumed
        print(f"{place.root.name}: {n_kills} kills, {len(rows)} runs, {resumed} of them resumed")
        if not self.bad():
            shutil.rmtree(place.root)

    def _note(self, what: str, problems: list[str], place: Any) -> None:
        self.found[what] += len(problems)
        for problem in problems:
            print(f"{place.root.name}: {what}: {problem}; see {place.log}")

    def bad(self) -> int:
        """How much went wrong."""
        good = ("sweeps", "resumed from a state")
        return sum(n for what, n in self.found.items() if what not in good)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="in all")
    parser.add_argument("--ray", type=int, default=40, help="how many of them under Ray")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    cases = load("cases")
    # short, since Ray's sockets lie in it, too; a driver that is killed leaves them behind
    root = Path(tempfile.mkdtemp(prefix="soak-"))
    os.environ["TMPDIR"] = str(root)
    with cases.Driver() as driver:
        soak = Soak(root, driver, cases, seed=given.seed)
        soak.in_process(given.kills - given.ray)
        soak.on_ray(given.ray)
    print(f"\nseed {given.seed}: {soak.killed.total()} kills")
    for what, n in sorted(soak.killed.items()):
        print(f"  {n:>4} of the {what}")
    print(
        f"  {soak.n_acknowledged:>4} acknowledged runs in {soak.found['sweeps']} sweeps, of which"
    )
    for what in ("resumed from a state", "lost", "run twice", "zombies"):
        print(f"  {soak.found[what]:>4} {what}")
    for what in ("unfinished", "odd exits", "other problems", "other bits"):
        print(f"  {soak.found[what]:>4} {what}")
    if soak.bad():
        print(f"everything is kept in {root}")
        return 1
    shutil.rmtree(root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
