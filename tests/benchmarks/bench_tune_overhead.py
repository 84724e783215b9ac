"""What Ray Tune costs beyond the work itself: seconds for each trial, report and value.

    python tests/benchmarks/bench_tune_overhead.py

Runs a few minutes at most on two cores; prints a table and judges nothing.
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
    """Trials that all have the same payload, and the times at which they spoke and ended."""

    def __init__(self, n_trials: int, **payload: Any) -> None:
        self.n_left = n_trials
        self.payload = payload
        self.reported: list[float] = []
        self.told: list[float] = []

    def done(self) -> bool:
        return not self.n_left

    def ask(self, n: int) -> list[TrialSpec]:
        self.n_left -= 1
        return [TrialSpec(self.n_left, self.payload)]

    def report(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> Decision:
        self.reported.append(time.perf_counter())
        return Decision.CONTINUE

    def tell(self, trial_id: int, outcome: Outcome) -> None:
        self.told.append(time.perf_counter())


def work(spec: TrialSpec, report: Report) -> Any:
    for step in range(spec.payload.get("n_reports", 0)):
        report(step + 1, {"accuracy": 0.5})
    return np.zeros(spec.payload.get("n_bytes", 0), np.uint8)


def each(times: list[float], first: int) -> float:
    """Mean seconds from one time to the next, from the one at index `first` on."""
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
        warm = N_AT_ONCE  # by then every process has started
        rows.append(("first empty trial, cold", empty.told[0] - begin))
        rows.append((f"{N_TRIALS} empty trials", empty.told[-1] - begin))
        rows.append(("each empty trial, warm", each(empty.told, warm)))
        rows.append(("from the last one to the end", time.perf_counter() - empty.told[-1]))
        reports = run(Stopwatch(1, n_reports=N_REPORTS))
        rows.append(("each report", each(reports.reported, 1)))
        values = run(Stopwatch(N_TRIALS, n_bytes=VALUE_MB * 10**6))
        rows.append((f"each trial with {VALUE_MB} MB of value, warm", each(values.told, warm)))
    for name, seconds in rows:
        print(f"{name:<40}{seconds:>10.4f} s")


if __name__ == "__main__":
    main()
