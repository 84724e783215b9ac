"""Trials of two processes each, on a private Ray with two CPUs: there is room for one at a time."""

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


def talk(spec: TrialSpec, report: Report) -> dict[str, Any]:
    """Each says what it is; the first reports, and all get to know what was decided."""
    import torch
    import torch.distributed as dist

    mine = {
        "rank": spec.group.rank,
        "size": spec.group.size,
        "pid": os.getpid(),
        "n_threads": torch.get_num_threads(),
        "decisions": [
            report(step, {"rank": spec.group.rank, "stop_me": float(step == 2)}).value
            for step in (1, 2, 3)
        ],
    }
    said: list[Any] = [None] * spec.group.size
    dist.all_gather_object(said, mine)
    return {"processes": said, "payload": dict(spec.payload)}


def wait_in_vain(spec: TrialSpec) -> None:
    """Until the other one, which is no more, has something to add."""
    import torch
    import torch.distributed as dist

    dist.all_reduce(torch.zeros(1))


def fail(spec: TrialSpec, report: Report) -> None:
    if spec.group.rank == 1:
        raise ValueError("only here\nand nowhere else")
    wait_in_vain(spec)


def run_out_of_memory(spec: TrialSpec, report: Report) -> None:
    if spec.group.rank == 1:
        raise MemoryError("no more of it")
    wait_in_vain(spec)


def die(spec: TrialSpec, report: Report) -> None:
    report(1, {})
    if spec.group.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    wait_in_vain(spec)


DOERS = {doer.__name__: doer for doer in (talk, fail, run_out_of_memory, die)}
KINDS = ["talk", "die", "fail", "run_out_of_memory", "talk"]


def work(spec: TrialSpec, report: Report) -> Any:
    return DOERS[spec.payload["do"]](spec, report)


class Script:
    """One trial of each of KINDS, and a record of what the runner said about them."""

    def __init__(self) -> None:
        self.left = [TrialSpec(number, {"do": kind}) for number, kind in enumerate(KINDS)]
        self.reports: list[tuple[int, int, Mapping[str, float]]] = []
        self.told: dict[int, Outcome] = {}

    def done(self) -> bool:
        return not self.left

    def ask(self, n: int) -> list[TrialSpec]:
        specs, self.left = self.left[:n], self.left[n:]
        return specs

    def report(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> Decision:
        self.reports.append((trial_id, step, metrics))
        return Decision.STOP if metrics.get("stop_me") else Decision.CONTINUE

    def tell(self, trial_id: int, outcome: Outcome) -> None:
        assert trial_id not in self.told
        self.told[trial_id] = outcome


@pytest.fixture(scope="module")
def script(private_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Script:
    """All trials, three at once, though there is room for the processes of only one of them."""
    from ray import cloudpickle

    from chorale.cluster.tune.runner import TuneRunner

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests
    script = Script()
    storage = tmp_path_factory.mktemp("train")
    TuneRunner(PAIR, max_concurrent=3, storage=storage, elastic=True).run(script, work)
    return script


def test_trials_that_would_need_more_than_there_is_wait_for_one_another_and_all_end(
    script: Script,
) -> None:
    assert sorted(script.told) == list(range(len(KINDS)))


@pytest.mark.parametrize("number", [0, 4])
def test_two_processes_do_the_work_and_hear_the_same_decisions(script: Script, number: int) -> None:
    outcome = script.told[number]
    assert outcome.end is End.STOPPED, outcome
    first, second = outcome.value["processes"]
    assert (first["rank"], second["rank"], first["size"], second["size"]) == (0, 1, 2, 2)
    assert first["pid"] != second["pid"]
    assert first["n_threads"] == second["n_threads"] == 1
    assert first["decisions"] == second["decisions"] == ["continue", "stop", "stop"]
    assert outcome.value["payload"] == {"do": "talk"}


def test_what_the_first_process_says_is_reported_once(script: Script) -> None:
    said = [(step, metrics["rank"]) for number, step, metrics in script.reports if number == 0]
    assert said == [(1, 0), (2, 0)]


@pytest.mark.parametrize(
    ("kind", "failure", "reason"),
    [
        ("fail", Failure.RAISED, "ValueError: only here"),
        ("run_out_of_memory", Failure.OUT_OF_MEMORY, "MemoryError: no more of it"),
        ("die", Failure.LOST, "worker lost: process 1 of those that train together died"),
    ],
)
def test_the_failure_of_one_process_is_that_of_the_trial(
    script: Script, kind: str, failure: Failure, reason: str
) -> None:
    outcome = script.told[KINDS.index(kind)]
    assert (outcome.end, outcome.failure, outcome.reason) == (End.FAILED, failure, reason)


def test_the_traceback_is_that_of_the_process(script: Script) -> None:
    assert "in fail" in script.told[KINDS.index("fail")].traceback


def test_nothing_is_left_behind(script: Script) -> None:
    import ray
    from ray.util import placement_group_table

    groups = placement_group_table().values()
    assert [group for group in groups if group["state"] != "REMOVED"] == []
    assert ray.available_resources()["CPU"] == ray.cluster_resources()["CPU"]


def test_a_trial_of_more_processes_than_there_is_room_for_is_refused(
    private_ray: None, tmp_path: Path
) -> None:
    from chorale.cluster.tune.runner import TuneRunner

    runner = TuneRunner(Resources(cpus=3, workers=3), max_concurrent=1, storage=tmp_path)
    with pytest.raises(ClusterError, match=r"1 CPUs and 0 GPUs for each of its 3 workers, but"):
        runner.run(Script(), work)
