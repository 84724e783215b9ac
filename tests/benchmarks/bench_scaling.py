"""Scaling of a sweep: trials per hour on more nodes, and the driver's overhead per trial.

    python tests/benchmarks/bench_scaling.py [--trials 500] [--workers 8] [--seconds 2] [--nodes 2]

Measured on one machine with simulated nodes and workers:

- parallel efficiency: trials of `--seconds` each on one node of one CPU, then on several. They
  sleep instead of computing, so that the overhead is measured and not the contention for the CPU.
- the driver: `--trials` empty trials on `--workers` workers, once with trials that are only
  counted, once with a study and its ledger on SQLite. Wall time and the driver's CPU time per
  trial, and its memory, which must stay constant.
- extrapolated: with how many workers the driver becomes the bottleneck, for trials of a minute.

Takes some minutes; prints tables.
"""

import argparse
import os
import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from chorale.cluster.base import Decision, Outcome, Report, Resources, Trials, TrialSpec
from chorale.cluster.connection import tokens
from chorale.cluster.connection.connect import connect
from chorale.cluster.tune.runner import TuneRunner
from chorale.search.config.schema import BudgetConfig, SearchConfig
from chorale.search.config.space import make_space
from chorale.search.console.events import StudyListeners
from chorale.search.ledger.ledger import Ledger
from chorale.search.study.budget import BudgetMeter
from chorale.search.study.study import SearchStage, StudyTrials
from chorale.search.training.trial_plan import TrialResult

MINUTE_S = 60.0
MIB = 2**20
LOOPBACK = "127.0.0.1"


class CountedTrials:
    """A fixed number of trials with the same payload."""

    def __init__(self, n_trials: int, **payload: Any) -> None:
        self.n_left = n_trials
        self.payload = payload

    def done(self) -> bool:
        return not self.n_left

    def ask(self, n: int) -> list[TrialSpec]:
        self.n_left -= 1
        return [TrialSpec(self.n_left, self.payload)]

    def report(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> Decision:
        return Decision.CONTINUE

    def tell(self, trial_id: int, outcome: Outcome) -> None: ...


class MeasuredTrials:
    """A `Trials` wrapper: records time, CPU time and memory of the driver at each trial's end."""

    def __init__(self, trials: Trials) -> None:
        self._trials = trials
        self._process = psutil.Process()
        self.done, self.ask, self.report = trials.done, trials.ask, trials.report
        self.wall_s: list[float] = []
        self.cpu_s: list[float] = []
        self.rss: list[int] = []

    def tell(self, trial_id: int, outcome: Outcome) -> None:
        self._trials.tell(trial_id, outcome)
        self.wall_s.append(time.perf_counter())
        self.cpu_s.append(time.process_time())
        self.rss.append(self._process.memory_info().rss)


def sleeping_trial(spec: TrialSpec, report: Report) -> None:
    time.sleep(spec.payload["seconds"])
    report(1, {"accuracy": 0.5})


def empty_trial(spec: TrialSpec, report: Report) -> TrialResult:
    """A trial of one epoch without training, with a result of the usual size."""
    value = spec.trial_id % 97 / 100
    report(1, {"accuracy": value})
    return TrialResult(
        metrics={"accuracy": value, "macro_f1": value, "log_loss": 1.0},
        epoch=1,
        n_parameters=10_000,
        train_s=0.0,
        valid_s=0.0,
        wall_s=0.0,
        valid_proba=np.full((300, 10), 0.1, np.float32),
    )


def study_trials(ledger: Ledger, n_trials: int) -> StudyTrials:
    space, problems = make_space(["cnn", "recurrent"], ["mel"], {}, fixed={})
    if space is None:
        raise ValueError(problems)
    settings = SearchStage(
        name="s",
        space=space,
        search=SearchConfig(sampler="random", pruner="successive_halving"),
        meter=BudgetMeter(BudgetConfig(trials=n_trials, max_epochs=1)),
        plan=lambda candidate, number: None,  # type: ignore[arg-type,return-value]
        keep=lambda number, result: None,
    )
    return StudyTrials(settings, ledger, StudyListeners(()))


@contextmanager
def cluster_of(n_nodes: int) -> Iterator[None]:
    """Connects to a new cluster of that many nodes of one CPU each, on loopback."""
    from ray.cluster_utils import Cluster

    node = {
        "num_cpus": 1,
        "include_dashboard": False,
        "object_store_memory": 80 * MIB,
        "node_ip_address": LOOPBACK,
    }
    with (
        tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        for name in ("ray._private.services", "ray.util"):  # or it would leave loopback
            patch.setattr(f"{name}.get_node_ip_address", lambda *_: LOOPBACK)
        for name in ("_private.utils.write_ray_address", "_common.utils.reset_ray_address"):
            patch.setattr(f"ray.{name}", lambda *_, **__: None)  # keep the user's own cluster
        tokens.reload()
        ray_cluster = Cluster(initialize_head=True, head_node_args={**node, "temp_dir": folder})
        try:
            for _ in range(n_nodes - 1):
                ray_cluster.add_node(**node)
            with connect(ray_cluster.address):
                yield
        finally:
            ray_cluster.shutdown()


def run(trials: Trials, work: Any, *, n_at_once: int) -> MeasuredTrials:
    measured = MeasuredTrials(trials)
    with tempfile.TemporaryDirectory() as folder:
        runner = TuneRunner(Resources(), max_concurrent=n_at_once, storage=Path(folder))
        runner.run(measured, work)
    return measured


def efficiency(most_nodes: int, seconds: float) -> None:
    """Prints trials per hour, once all workers have started."""
    per_hour: dict[int, float] = {}
    for n_nodes in range(1, most_nodes + 1):
        with cluster_of(n_nodes):
            measured = run(
                CountedTrials(20 * n_nodes, seconds=seconds), sleeping_trial, n_at_once=n_nodes
            )
        warm = 2 * n_nodes  # all processes have started by then
        took_s = measured.wall_s[-1] - measured.wall_s[warm - 1]
        per_hour[n_nodes] = 3600 * (len(measured.wall_s) - warm) / took_s
        share = per_hour[n_nodes] / (n_nodes * per_hour[1])
        ideal = 3600 * n_nodes / seconds
        print(
            f"{n_nodes} nodes  {per_hour[n_nodes]:>8.0f} trials per hour  "
            f"{share:>7.1%} of {n_nodes} times one node  {per_hour[n_nodes] / ideal:>7.1%} of ideal"
        )


def overhead(n_trials: int, n_workers: int) -> None:
    """Prints the driver's time per trial, and its memory over the run."""
    with connect(num_cpus=n_workers), tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(f"sqlite:///{Path(folder) / 'chorale.db'}")
        # the first run also starts the workers, so they are warm for the second
        runs = {
            "counted": run(CountedTrials(n_trials), empty_trial, n_at_once=n_workers),
            "study, SQLite": run(study_trials(ledger, n_trials), empty_trial, n_at_once=n_workers),
        }
        ledger.close()
    print(f"{'':<16}{'wall ms':>9}{'driver ms':>11}{'MiB at':>9} trials")
    for name, one in runs.items():
        first = n_workers
        n = len(one.wall_s) - 1 - first
        wall_ms = 1000 * (one.wall_s[-1] - one.wall_s[first]) / n
        cpu_ms = 1000 * (one.cpu_s[-1] - one.cpu_s[first]) / n
        at = [len(one.rss) * part // 5 - 1 for part in range(1, 6)]
        memory = "  ".join(f"{i + 1}: {one.rss[i] / MIB:.0f}" for i in at)
        print(f"{name:<16}{wall_ms:>9.1f}{cpu_ms:>11.1f}   {memory}")
        for what, spent_ms in (("wall", wall_ms), ("CPU", cpu_ms)):
            print(
                f"{'':<16}by {what} time, with 1-minute trials, the driver is the bottleneck from "
                f"{1000 * MINUTE_S / spent_ms:.0f} workers"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=500, help="0: skip the driver")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--nodes", type=int, default=2, help="0: skip the efficiency")
    args = parser.parse_args()
    print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if args.trials:
        overhead(args.trials, args.workers)
    efficiency(args.nodes, args.seconds)


if __name__ == "__main__":
    main()
