"""How soon a sweep on Ray ends after SIGTERM, at many instants from its start to its end.

    python tests/benchmarks/bench_stop.py --stops 20 --seed 0

Every second one is followed by Ctrl-C at once, as an impatient person does it. Each must end with
exit code 130, leave no process and no folder behind, and can be resumed: the same study is stopped
again and again until it is complete, and then judged as the crash tests judge it. Prints a line a
stop, and the worst. Where one takes longer than `--patience` seconds its stack is in the log.
"""

import argparse
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import psutil

CRASH = Path(__file__).parents[1] / "search" / "crash"
N_TRIALS = 3
WORDS = ["--cluster.address", "local", "--budget.trials", str(N_TRIALS)]
TIMEOUT_S = 600.0
COMMAND = """
import faulthandler, signal, sys
faulthandler.register(signal.SIGUSR1)
from chorale.search.cli import main
sys.exit(main())
"""
"""As `chorale` does it, but SIGUSR1 makes it say where it is."""


def load(name: str) -> ModuleType:
    """A file of the crash tests as a module."""
    spec = importlib.util.spec_from_file_location(f"crash_{name}", CRASH / f"{name}.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(CRASH / f"{name}.py")
    module = sys.modules[f"crash_{name}"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Stops:
    """Sweeps that are stopped."""

    def __init__(self, root: Path, *, seed: int, patience_s: float) -> None:
        self.root, self.patience_s = root, patience_s
        self.cases, self.script = load("cases"), load("driver")
        self.rng = np.random.default_rng(seed)
        self.script.make_corpus(root / "corpus")
        self.took_s: list[tuple[float, str]] = []
        self.wrong: list[str] = []

    def whole_s(self) -> float:
        """How long a sweep takes that nobody stops."""
        place = self._place("whole")
        began = time.perf_counter()
        process = self._start(place)
        if process.wait(timeout=TIMEOUT_S):
            raise SystemExit(place.log.read_text())
        return time.perf_counter() - began

    def stop(self, place: Any, after_s: float, *, twice: bool) -> bool:
        """Stops a sweep, or goes on with it, so long after its start; whether it was hit."""
        place.log.unlink(missing_ok=True)
        process = self._start(place)
        children = psutil.Process(process.pid)
        try:
            process.wait(timeout=after_s)
        except subprocess.TimeoutExpired:
            pass
        else:
            return False
        family = children.children(recursive=True)
        asked = time.perf_counter()
        process.send_signal(signal.SIGTERM)
        if twice:
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)
        try:
            code = process.wait(timeout=self.patience_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGUSR1)
            code = process.wait(timeout=TIMEOUT_S)
        took_s = time.perf_counter() - asked
        said = place.log.read_text().splitlines() if place.log.exists() else []
        doing = next((line for line in reversed(said) if " s)" in line or "|" in line), "")
        times = "twice" if twice else "once"
        at = f"{after_s:5.1f} s after its start, {times}: {doing[:60].strip()}"
        print(f"{took_s:5.1f} s, exit code {code:>4}, {at}", flush=True)
        self.took_s.append((took_s, at))
        self._judge(place, code, at, said, family)
        return True

    def _judge(self, place: Any, code: int, at: str, said: list[str], family: list[Any]) -> None:
        alive = psutil.wait_procs(family, timeout=5)[1]
        # who has ended and was not asked how, by whoever took it over, is nobody's burden
        left = [p.name() for p in alive if p.status() != psutil.STATUS_ZOMBIE]
        folders = [p.name for p in self.root.iterdir() if p.name.startswith(("ray-", "chorale-"))]
        wrong = [f"exit code {code}"] if code not in (130, 0) else []
        wrong += [f"processes left: {left}"] if left else []
        wrong += [f"folders left: {folders}"] if folders else []
        wrong += ["a traceback"] if any("Traceback" in line for line in said) else []
        if wrong:
            kept = self.root / f"log-{len(self.wrong)}"
            kept.write_text("\n".join(said))
            self.wrong += [f"{one}, {at}; see {kept}" for one in wrong]
            print(f"       {'; '.join(wrong)}; see {kept}", flush=True)
        for folder in folders:
            shutil.rmtree(self.root / folder, ignore_errors=True)

    def finish(self, place: Any) -> None:
        """Goes on to the end, and looks whether all is there."""
        code = self._start(place).wait(timeout=TIMEOUT_S)
        wrong = [f"exit code {code}"] if code else self.cases.problems(place, n_trials=N_TRIALS)
        self.wrong += [f"{one}; see {place.log}" for one in wrong]

    def place(self, number: int) -> Any:
        return self._place(f"s{number}")

    def _place(self, name: str) -> Any:
        place = self.cases.Place(self.root / name, self.root / "corpus", WORDS)
        place.set_up(self.script.write_sweep, cache=None)
        return place

    def _start(self, place: Any) -> Any:
        with place.log.open("ab") as log:
            words = [sys.executable, "-c", COMMAND, *place.command()]
            env = {**self.cases.environment(), "PYTHONPATH": str(CRASH.parents[2])}
            return subprocess.Popen(words, stdout=log, stderr=log, env=env)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stops", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--patience", type=float, default=10.0, help="in seconds")
    given = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="st-"))  # short, since Ray's sockets lie in it, too
    os.environ["TMPDIR"] = str(root)
    stops = Stops(root, seed=given.seed, patience_s=given.patience)
    whole_s = stops.whole_s()
    print(f"a whole sweep takes {whole_s:.1f} s", flush=True)
    n, number = 0, 0
    while n < given.stops:
        place = stops.place(number)
        for _ in range(4):
            after_s = whole_s * (n + float(stops.rng.uniform())) / given.stops
            if n >= given.stops or not stops.stop(place, after_s, twice=n % 2 == 1):
                break
            n += 1
        stops.finish(place)
        number += 1
    worst_s, at = max(stops.took_s)
    print(f"\nseed {given.seed}: {n} stops, the worst took {worst_s:.1f} s: {at}")
    print(f"the median {np.median([s for s, _ in stops.took_s]):.1f} s; wrong: {len(stops.wrong)}")
    for one in stops.wrong:
        print(f"  {one}")
    if stops.wrong:
        print(f"everything is kept in {root}")
        return 1
    shutil.rmtree(root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
