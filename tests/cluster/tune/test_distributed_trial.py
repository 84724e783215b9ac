"""Distributed trials of two processes, on a private Ray with room for one trial at a time."""

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from chorale.cluster.base import (
    ClusterError,
    Decision,
    End,
    Failure,
    Outcome,
    Report,
    Resources,
    TrialSpec,
)

pytestmark = [pytest.mark.ray, pytest.mark.heavy, pytest.mark.timeout(300)]

PAIR = Resources(cpus=2, workers=2)


def gather(spec: TrialSpec, report: Report) -> dict[str, Any]:
    """Each process gathers facts about all; rank 0 reports, and all get the decisions."""
    import torch
    import torch.distributed as dist

    mine = {
        "rank": spec.process_group.rank,
        "size": spec.process_group.size,
        "pid": os.getpid(),
        "n_threads": torch.get_num_threads(),
        "decisions": [
            report(step, {"rank": spec.process_group.rank, "stop_me": float(step == 2)}).value
            for step in (1, 2, 3)
        ],
    }
    gathered: list[Any] = [None] * spec.process_group.size
    dist.all_gather_object(gathered, mine)
    return {"processes": gathered, "payload": dict(spec.payload)}


def wait_for_dead_process(spec: TrialSpec) -> None:
    """Waits in a collective operation for the other process, which has ended."""
    import torch
    import torch.distributed as dist

    dist.all_reduce(torch.zeros(1))


def fail(spec: TrialSpec, report: Report) -> None:
    if spec.process_group.rank == 1:
        raise ValueError("only here\nand nowhere else")
    wait_for_dead_process(spec)


def run_out_of_memory(spec: TrialSpec, report: Report) -> None:
    if spec.process_group.rank == 1:
        raise MemoryError("no more of it")
    wait_for_dead_process(spec)


def die(spec: TrialSpec, report: Report) -> None:
    report(1, {})
    if spec.process_group.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    wait_for_dead_process(spec)


WORK_FUNCTIONS = {work.__name__: work for work in (gather, fail, run_out_of_memory, die)}
KINDS = ["gather", "die", "fail", "run_out_of_memory", "gather"]


def work(spec: TrialSpec, report: Report) -> Any:
    return WORK_FUNCTIONS[spec.payload["do"]](spec, report)


class Script:
    """One trial of each of KINDS, and a record of the runner's calls."""

    def __init__(self) -> None:
        self.left = [TrialSpec(number, {"do": kind}) for number, kind in enumerate(KINDS)]
        self.reports: list[tuple[int, int, Mapping[str, float]]] = []
        self.outcomes: dict[int, Outcome] = {}

    def done(self) -> bool:
        return not self.left

    def ask(self, n: int) -> list[TrialSpec]:
        specs, self.left = self.left[:n], self.left[n:]
        return specs

    def report(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> Decision:
        self.reports.append((trial_id, step, metrics))
        return Decision.STOP if metrics.get("stop_me") else Decision.CONTINUE

    def tell(self, trial_id: int, outcome: Outcome) -> None:
        assert trial_id not in self.outcomes
        self.outcomes[trial_id] = outcome


@pytest.fixture(scope="module")
def script(private_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Script:
    """All trials, three at once, though there is room for the processes of only one."""
    from ray import cloudpickle

    from chorale.cluster.tune.runner import TuneRunner

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests
    script = Script()
    storage = tmp_path_factory.mktemp("train")
    TuneRunner(PAIR, max_concurrent=3, storage=storage, elastic=True).run(script, work)
    return script


def test_trials_that_do_not_fit_at_the_same_time_run_one_after_another(
    script: Script,
) -> None:
    assert sorted(script.outcomes) == list(range(len(KINDS)))


@pytest.mark.parametrize("number", [0, 4])
def test_both_processes_run_the_work_function_and_get_the_same_decisions(
    script: Script, number: int
) -> None:
    outcome = script.outcomes[number]
    assert outcome.end is End.STOPPED, outcome
    first, second = outcome.value["processes"]
    assert (first["rank"], second["rank"], first["size"], second["size"]) == (0, 1, 2, 2)
    assert first["pid"] != second["pid"]
    assert first["n_threads"] == second["n_threads"] == 1
    assert first["decisions"] == second["decisions"] == ["continue", "stop", "stop"]
    assert outcome.value["payload"] == {"do": "gather"}


def test_the_reports_of_rank_0_are_passed_on_once(script: Script) -> None:
    reports = [(step, metrics["rank"]) for number, step, metrics in script.reports if number == 0]
    assert reports == [(1, 0), (2, 0)]


@pytest.mark.parametrize(
    ("kind", "failure", "reason"),
    [
        ("fail", Failure.RAISED, "ValueError: only here"),
        ("run_out_of_memory", Failure.OUT_OF_MEMORY, "MemoryError: no more of it"),
        ("die", Failure.LOST, "worker lost: process 1 of the distributed trial died"),
    ],
)
def test_the_failure_of_one_process_fails_the_trial(
    script: Script, kind: str, failure: Failure, reason: str
) -> None:
    outcome = script.outcomes[KINDS.index(kind)]
    assert (outcome.end, outcome.failure, outcome.reason) == (End.FAILED, failure, reason)


def test_the_traceback_is_that_of_the_failed_process(script: Script) -> None:
    assert "in fail" in script.outcomes[KINDS.index("fail")].traceback


def test_placement_groups_and_cpus_are_released(script: Script) -> None:
    import ray
    from ray.util import placement_group_table

    groups = placement_group_table().values()
    assert [group for group in groups if group["state"] != "REMOVED"] == []
    assert ray.available_resources()["CPU"] == ray.cluster_resources()["CPU"]


def test_a_trial_with_more_processes_than_the_cluster_can_hold_is_refused(
    private_ray: None, tmp_path: Path
) -> None:
    from chorale.cluster.tune.runner import TuneRunner

    runner = TuneRunner(Resources(cpus=3, workers=3), max_concurrent=1, storage=tmp_path)
    with pytest.raises(ClusterError, match=r"1 CPUs and 0 GPUs for each of its 3 workers, but"):
        runner.run(Script(), work)
