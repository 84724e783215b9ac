"""Time from SIGTERM to exit of a sweep on Ray, at many instants between its start and its end.

    python tests/benchmarks/bench_interrupt.py --stops 20 --seed 0

Every second SIGTERM is followed by Ctrl-C at once, as by an impatient user. Each sweep must exit
with code 130, leave no process and no folder, and be resumable: the same study is interrupted up to
four times, resumed to its end, and then checked as in the crash tests. Prints a line per
interruption, and the slowest. Where an exit takes longer than `--patience` seconds, the stack is
written to the log.
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
ARGS = ["--cluster.address", "local", "--budget.trials", str(N_TRIALS)]
TIMEOUT_S = 600.0
COMMAND = """
import faulthandler, signal, sys
faulthandler.register(signal.SIGUSR1)
from chorale.search.cli import main
sys.exit(main())
"""
"""The `chorale` command; SIGUSR1 makes it print its stack."""


def load(name: str) -> ModuleType:
    """A file of the crash tests as a module."""
    spec = importlib.util.spec_from_file_location(f"crash_{name}", CRASH / f"{name}.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(CRASH / f"{name}.py")
    module = sys.modules[f"crash_{name}"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Interruptions:
    """Interrupts sweeps, and collects times and failures."""

    def __init__(self, root: Path, *, seed: int, patience_s: float) -> None:
        self.root, self.patience_s = root, patience_s
        self.cases, self.script = load("cases"), load("driver")
        self.rng = np.random.default_rng(seed)
        self.script.make_corpus(root / "corpus")
        self.took_s: list[tuple[float, str]] = []
        self.failures: list[str] = []

    def uninterrupted_s(self) -> float:
        """The duration of a sweep that is not interrupted, in seconds."""
        sandbox = self._sandbox("uninterrupted")
        began = time.perf_counter()
        process = self._start(sandbox)
        if process.wait(timeout=TIMEOUT_S):
            raise SystemExit(sandbox.log.read_text())
        return time.perf_counter() - began

    def stop(self, sandbox: Any, after_s: float, *, twice: bool) -> bool:
        """Starts or resumes a sweep and interrupts it after `after_s`; False if it ended before."""
        sandbox.log.unlink(missing_ok=True)
        process = self._start(sandbox)
        process_info = psutil.Process(process.pid)
        try:
            process.wait(timeout=after_s)
        except subprocess.TimeoutExpired:
            pass
        else:
            return False
        descendants = process_info.children(recursive=True)
        stopped = time.perf_counter()
        process.send_signal(signal.SIGTERM)
        if twice:
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)
        try:
            code = process.wait(timeout=self.patience_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGUSR1)
            code = process.wait(timeout=TIMEOUT_S)
        took_s = time.perf_counter() - stopped
        log = sandbox.log.read_text().splitlines() if sandbox.log.exists() else []
        progress = next((line for line in reversed(log) if " s)" in line or "|" in line), "")
        times = "twice" if twice else "once"
        at = f"{after_s:5.1f} s after its start, {times}: {progress[:60].strip()}"
        print(f"{took_s:5.1f} s, exit code {code:>4}, {at}", flush=True)
        self.took_s.append((took_s, at))
        self._check(sandbox, code, at, log, descendants)
        return True

    def _check(
        self, sandbox: Any, code: int, at: str, log: list[str], descendants: list[Any]
    ) -> None:
        alive = psutil.wait_procs(descendants, timeout=5)[1]
        # zombies that their new parent has not reaped do not count
        remaining = [p.name() for p in alive if p.status() != psutil.STATUS_ZOMBIE]
        folders = [p.name for p in self.root.iterdir() if p.name.startswith(("ray-", "chorale-"))]
        failures = [f"exit code {code}"] if code not in (130, 0) else []
        failures += [f"processes remain: {remaining}"] if remaining else []
        failures += [f"folders remain: {folders}"] if folders else []
        failures += ["a traceback"] if any("Traceback" in line for line in log) else []
        if failures:
            saved = self.root / f"log-{len(self.failures)}"
            saved.write_text("\n".join(log))
            self.failures += [f"{one}, {at}; see {saved}" for one in failures]
            print(f"       {'; '.join(failures)}; see {saved}", flush=True)
        for folder in folders:
            shutil.rmtree(self.root / folder, ignore_errors=True)

    def finish(self, sandbox: Any) -> None:
        """Resumes a sweep to its end and checks its invariants."""
        code = self._start(sandbox).wait(timeout=TIMEOUT_S)
        failures = (
            [f"exit code {code}"] if code else self.cases.problems(sandbox, n_trials=N_TRIALS)
        )
        self.failures += [f"{one}; see {sandbox.log}" for one in failures]

    def sandbox(self, number: int) -> Any:
        return self._sandbox(f"s{number}")

    def _sandbox(self, name: str) -> Any:
        sandbox = self.cases.Sandbox(self.root / name, self.root / "corpus", ARGS)
        sandbox.set_up(self.script.write_sweep, cache=None)
        return sandbox

    def _start(self, sandbox: Any) -> Any:
        with sandbox.log.open("ab") as log:
            command = [sys.executable, "-c", COMMAND, *sandbox.command()]
            env = {**self.script.environment(), "PYTHONPATH": str(CRASH.parents[2])}
            return subprocess.Popen(command, stdout=log, stderr=log, env=env)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stops", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--patience", type=float, default=10.0, help="in seconds")
    args = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="st-"))  # short, since Ray's socket paths start with it
    os.environ["TMPDIR"] = str(root)
    interruptions = Interruptions(root, seed=args.seed, patience_s=args.patience)
    sweep_s = interruptions.uninterrupted_s()
    print(f"an uninterrupted sweep takes {sweep_s:.1f} s", flush=True)
    n, number = 0, 0
    while n < args.stops:
        sandbox = interruptions.sandbox(number)
        for _ in range(4):
            after_s = sweep_s * (n + float(interruptions.rng.uniform())) / args.stops
            if n >= args.stops or not interruptions.stop(sandbox, after_s, twice=n % 2 == 1):
                break
            n += 1
        interruptions.finish(sandbox)
        number += 1
    worst_s, at = max(interruptions.took_s)
    print(f"\nseed {args.seed}: {n} interruptions, the slowest exit took {worst_s:.1f} s: {at}")
    median_s = np.median([s for s, _ in interruptions.took_s])
    print(f"the median {median_s:.1f} s; failures: {len(interruptions.failures)}")
    for one in interruptions.failures:
        print(f"  {one}")
    if interruptions.failures:
        print(f"files are kept in {root}")
        return 1
    shutil.rmtree(root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
