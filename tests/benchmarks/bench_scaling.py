"""How a sweep scales: trials an hour with more nodes, and what each trial costs its driver.

    python tests/benchmarks/bench_scaling.py [--trials 500] [--workers 8] [--seconds 2] [--nodes 2]

Three questions, on one machine with pretended nodes and workers:

- efficiency: trials of `--seconds` each on one node of one CPU, then on several. They wait instead
  of computing, so that what is seen is the overhead and not that the nodes share a processor.
- the driver: `--trials` trials of no work on `--workers` workers, once for trials that only count,
  once for a study with its ledger on SQLite. Wall time a trial says how fast it goes, the
  processor time of the driver what remains when nothing else runs; and its memory must stay flat.
- on paper: with how many workers the driver becomes the bottleneck, if trials last a minute.

Takes some minutes; prints tables and judges nothing.
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
from chorale.search.config.schema import Budget, Search
from chorale.search.config.space import make_space
from chorale.search.console.events import Listeners
from chorale.search.ledger.ledger import Ledger
from chorale.search.study.budget import Meter
from chorale.search.study.study import Study, StudyTrials
from chorale.search.training.run_trial import TrialResult

MINUTE_S = 60.0
MIB = 2**20
LOOPBACK = "127.0.0.1"


class Count:
    """So many trials that all have the same payload."""

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


class Watched:
    """Trials, and at each one's end the time, the driver's processor time and its memory."""

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


def wait(spec: TrialSpec, report: Report) -> None:
    time.sleep(spec.payload["seconds"])
    report(1, {"accuracy": 0.5})


def nothing(spec: TrialSpec, report: Report) -> TrialResult:
    """A trial of one epoch that brings what a small one brings."""
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


def study(ledger: Ledger, n_trials: int) -> StudyTrials:
    space, problems = make_space(["cnn", "recurrent"], ["mel"], {}, fixed={})
    if space is None:
        raise ValueError(problems)
    told = Study(
        name="s",
        space=space,
        search=Search(sampler="random", pruner="successive_halving"),
        meter=Meter(Budget(trials=n_trials, max_epochs=1)),
        plan=lambda candidate, number: None,  # type: ignore[arg-type,return-value]
        keep=lambda number, result: None,
    )
    return StudyTrials(told, ledger, Listeners(()))


@contextmanager
def cluster_of(n_nodes: int) -> Iterator[None]:
    """Connects to that many nodes of one CPU each, on loopback, that nobody else sees."""
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
        for name in ("ray._private.services", "ray.util"):  # else it leaves loopback by itself
            patch.setattr(f"{name}.get_node_ip_address", lambda *_: LOOPBACK)
        for name in ("_private.utils.write_ray_address", "_common.utils.reset_ray_address"):
            patch.setattr(f"ray.{name}", lambda *_, **__: None)  # a person's cluster is not ours
        tokens.read_again()
        made = Cluster(initialize_head=True, head_node_args={**node, "temp_dir": folder})
        try:
            for _ in range(n_nodes - 1):
                made.add_node(**node)
            with connect(made.address):
                yield
        finally:
            made.shutdown()


def run(trials: Trials, work: Any, *, n_at_once: int) -> Watched:
    watched = Watched(trials)
    with tempfile.TemporaryDirectory() as folder:
        runner = TuneRunner(Resources(), max_concurrent=n_at_once, storage=Path(folder))
        runner.run(watched, work)
    return watched


def efficiency(most_nodes: int, seconds: float) -> None:
    """Trials an hour from the time on when all workers are there."""
    per_hour: dict[int, float] = {}
    for n_nodes in range(1, most_nodes + 1):
        with cluster_of(n_nodes):
            seen = run(Count(20 * n_nodes, seconds=seconds), wait, n_at_once=n_nodes)
        warm = 2 * n_nodes  # by then every process has started
        took_s = seen.wall_s[-1] - seen.wall_s[warm - 1]
        per_hour[n_nodes] = 3600 * (len(seen.wall_s) - warm) / took_s
        share = per_hour[n_nodes] / (n_nodes * per_hour[1])
        ideal = 3600 * n_nodes / seconds
        print(
            f"{n_nodes} nodes  {per_hour[n_nodes]:>8.0f} trials an hour  "
            f"{share:>7.1%} of {n_nodes} times one node  {per_hour[n_nodes] / ideal:>7.1%} of ideal"
        )


def overhead(n_trials: int, n_workers: int) -> None:
    """What the driver spends on each trial, and its memory on the way."""
    with connect(num_cpus=n_workers), tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(f"sqlite:///{Path(folder) / 'chorale.db'}")
        # the first one also starts the workers, so that the second one finds them warm
        seen = {
            "counted": run(Count(n_trials), nothing, n_at_once=n_workers),
            "study, SQLite": run(study(ledger, n_trials), nothing, n_at_once=n_workers),
        }
        ledger.close()
    print(f"{'':<16}{'wall ms':>9}{'driver ms':>11}{'MiB at':>9} trials")
    for name, one in seen.items():
        first = n_workers
        n = len(one.wall_s) - 1 - first
        wall_ms = 1000 * (one.wall_s[-1] - one.wall_s[first]) / n
        cpu_ms = 1000 * (one.cpu_s[-1] - one.cpu_s[first]) / n
        at = [len(one.rss) * part // 5 - 1 for part in range(1, 6)]
        memory = "  ".join(f"{i + 1}: {one.rss[i] / MIB:.0f}" for i in at)
        print(f"{name:<16}{wall_ms:>9.1f}{cpu_ms:>11.1f}   {memory}")
        for what, spent_ms in (("wall", wall_ms), ("processor", cpu_ms)):
            print(
                f"{'':<16}by {what} time the driver of 1-minute trials is full with "
                f"{1000 * MINUTE_S / spent_ms:.0f} workers"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=500, help="0: leave the driver out")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--nodes", type=int, default=2, help="0: leave the efficiency out")
    asked = parser.parse_args()
    print(f"load of this machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if asked.trials:
        overhead(asked.trials, asked.workers)
    efficiency(asked.nodes, asked.seconds)


if __name__ == "__main__":
    main()
