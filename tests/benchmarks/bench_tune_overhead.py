"""Overhead of Ray Tune: seconds per trial, per report, and per returned value. Prints a table.

    python tests/benchmarks/bench_tune_overhead.py

Takes a few minutes at most on two cores.
"""

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from chorale.cluster.base import Decision, Outcome, Report, Resources, TrialSpec
from chorale.cluster.connection.connect import connect
from chorale.cluster.tune.runner import TuneRunner

N_AT_ONCE = 2
N_TRIALS = 64
N_REPORTS = 500
VALUE_MB = 10


class Stopwatch:
    """Trials with the same payload, and the times of their reports and ends."""

    def __init__(self, n_trials: int, **payload: Any) -> None:
        self.n_left = n_trials
        self.payload = payload
        self.reported: list[float] = []
        self.ended: list[float] = []

    def done(self) -> bool:
        return not self.n_left

    def ask(self, n: int) -> list[TrialSpec]:
        self.n_left -= 1
        return [TrialSpec(self.n_left, self.payload)]

    def report(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> Decision:
        self.reported.append(time.perf_counter())
        return Decision.CONTINUE

    def tell(self, trial_id: int, outcome: Outcome) -> None:
        self.ended.append(time.perf_counter())


def work(spec: TrialSpec, report: Report) -> Any:
    for step in range(spec.payload.get("n_reports", 0)):
        report(step + 1, {"accuracy": 0.5})
    return np.zeros(spec.payload.get("n_bytes", 0), np.uint8)


def mean_interval(times: list[float], first: int) -> float:
    """Mean seconds between consecutive times, from index `first` on."""
    return (times[-1] - times[first]) / (len(times) - 1 - first)


def main() -> None:
    rows: list[tuple[str, float]] = []
    begin = time.perf_counter()
    with connect(num_cpus=N_AT_ONCE), tempfile.TemporaryDirectory() as folder:
        rows.append(("start of a private Ray", time.perf_counter() - begin))
        runner = TuneRunner(Resources(), max_concurrent=N_AT_ONCE, storage=Path(folder))

        def run(trials: Stopwatch) -> Stopwatch:
            runner.run(trials, work)
            return trials

        begin = time.perf_counter()
        empty = run(Stopwatch(N_TRIALS))
        warm = N_AT_ONCE  # all processes have started by then
        rows.append(("first empty trial, cold", empty.ended[0] - begin))
        rows.append((f"{N_TRIALS} empty trials", empty.ended[-1] - begin))
        rows.append(("per empty trial, warm", mean_interval(empty.ended, warm)))
        rows.append(("from the last trial to the end", time.perf_counter() - empty.ended[-1]))
        reports = run(Stopwatch(1, n_reports=N_REPORTS))
        rows.append(("per report", mean_interval(reports.reported, 1)))
        values = run(Stopwatch(N_TRIALS, n_bytes=VALUE_MB * 10**6))
        rows.append(
            (f"per trial that returns {VALUE_MB} MB, warm", mean_interval(values.ended, warm))
        )
    for name, seconds in rows:
        print(f"{name:<40}{seconds:>10.4f} s")


if __name__ == "__main__":
    main()
