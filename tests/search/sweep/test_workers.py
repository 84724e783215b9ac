"""Which cluster a sweep joins, and what its trials take of it."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

import chorale.cluster.tune.runner  # noqa: F401 - else it would keep an `n_slots` that a test here put in
from chorale.cluster import machine
from chorale.cluster.base import ClusterError, Resources
from chorale.cluster.connection import connect as connecting
from chorale.cluster.doctor import doctor
from chorale.cluster.local_workers import fork_client
from chorale.cluster.local_workers.runner import ProcessRunner
from chorale.cluster.transfer import folders
from chorale.search.config.schema import Cluster
from chorale.search.sweep.workers import trial_resources, workers

PROCESSORS, GPUS = Resources(8), Resources(16, 4)


@pytest.mark.parametrize(
    ("said", "size", "taken"),
    [
        ({}, PROCESSORS, Resources(1)),
        ({}, GPUS, Resources(1, 1)),
        ({"gpus_per_trial": 0.25}, GPUS, Resources(1, 0.25)),
        ({"gpus_per_trial": 0}, GPUS, Resources(1)),
        ({"gpus_per_trial": 2}, GPUS, Resources(2, 2, 2)),
        ({"gpus_per_trial": 2, "cpus_per_trial": 3}, GPUS, Resources(6, 2, 2)),
        ({"gpus_per_trial": 2, "workers_per_trial": 2}, GPUS, Resources(2, 2, 2)),
        ({"workers_per_trial": 3}, GPUS, Resources(3, 3, 3)),
        ({"workers_per_trial": 2, "gpus_per_trial": 0}, GPUS, Resources(2, 0, 2)),
        ({"workers_per_trial": 2, "cpus_per_trial": 2}, PROCESSORS, Resources(4, 0, 2)),
    ],
)
def test_a_trial_takes_what_it_is_told(
    said: dict[str, Any], size: Resources, taken: Resources
) -> None:
    assert trial_resources(Cluster(**said), size) == taken


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"gpus_per_trial": 1.5}, r"a part of one GPU or several whole ones.*=1\.5; write 1 or 2"),
        (
            {"gpus_per_trial": 2, "workers_per_trial": 3},
            r"workers_per_trial=3 and cluster\.gpus_per_trial=2; .* or write 2",
        ),
        ({"gpus_per_trial": 0.5, "workers_per_trial": 2}, r"leave workers_per_trial out"),
    ],
)
def test_numbers_that_do_not_go_together_are_refused(said: dict[str, Any], told: str) -> None:
    with pytest.raises(ClusterError, match=told):
        trial_resources(Cluster(**said), GPUS)


@pytest.mark.parametrize("said", [{"workers_per_trial": 2}, {"gpus_per_trial": 2}])
def test_without_ray_a_trial_has_one_process(said: dict[str, Any]) -> None:
    told = r"without Ray one process trains each trial, but got cluster\..*=2"
    with (
        pytest.raises(ClusterError, match=told),
        workers(Cluster(address="none", **said), runs=Path("runs")),
    ):
        pass


@pytest.mark.parametrize(
    ("config", "in_job", "joined", "looked"),
    [
        (Cluster(), False, "local", False),
        (Cluster(), True, "auto", True),
        (Cluster(address="local"), True, "local", False),
        (Cluster(address="head:6379"), False, "head:6379", True),
    ],
)
def test_a_sweep_joins_the_cluster_whose_job_it_is_and_looks_at_it_first(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    config: Cluster,
    in_job: bool,
    joined: str,
    looked: bool,
) -> None:
    happened: list[Any] = []

    @contextmanager
    def connect(address: str, **_: Any) -> Iterator[Resources]:
        happened.append(address)
        yield Resources(2)

    monkeypatch.setattr(machine, "may_have_gpu", lambda: True)
    monkeypatch.setattr(connecting, "connect", connect)
    monkeypatch.setattr(connecting, "n_slots", lambda _: 2)
    monkeypatch.setattr(folders, "shared", lambda _: nullcontext(tmp_path))
    monkeypatch.setattr(folders, "all_nodes_see", lambda _: True)
    monkeypatch.setattr(doctor, "quick", lambda: happened.append("looked"))
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}" if in_job else "")
    with workers(config, runs=tmp_path) as crew:
        assert crew.trials_at_once == 2
    assert happened == [joined, *(["looked"] if looked else [])]


@pytest.mark.parametrize(
    ("config", "has_gpu", "without_ray"),
    [
        (Cluster(), False, True),
        (Cluster(), True, False),
        (Cluster(gpus_per_trial=0), True, True),
        (Cluster(gpus_per_trial=0.5), False, False),
        (Cluster(workers_per_trial=2), False, False),
        (Cluster(address="processes"), True, True),
        (Cluster(address="local"), False, False),
    ],
)
def test_a_machine_alone_does_without_ray_where_ray_has_nothing_to_share_out(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    config: Cluster,
    has_gpu: bool,
    without_ray: bool,
) -> None:
    @contextmanager
    def connect(address: str, **_: Any) -> Iterator[Resources]:
        assert address == "local"
        yield Resources(4, float(has_gpu))

    monkeypatch.setattr(machine, "may_have_gpu", lambda: has_gpu)
    monkeypatch.setattr(machine, "n_cpus", lambda: 4)
    monkeypatch.setattr(fork_client, "forks", lambda _: nullcontext(tmp_path / "socket"))
    monkeypatch.setattr(connecting, "connect", connect)
    monkeypatch.setattr(connecting, "n_slots", lambda _: 4)
    with workers(config, runs=tmp_path) as crew:
        assert isinstance(crew.runner, ProcessRunner) == without_ray
        assert crew.trials_at_once == 4


@pytest.mark.parametrize(
    ("said", "at_once"),
    [({}, 4), ({"trials_at_once": 3}, 3), ({"trials_at_once": 9}, 4), ({"cpus_per_trial": 3}, 1)],
)
def test_processes_share_the_cores_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: dict[str, Any], at_once: int
) -> None:
    monkeypatch.setattr(machine, "n_cpus", lambda: 4)
    monkeypatch.setattr(fork_client, "forks", lambda _: nullcontext(tmp_path / "socket"))
    with workers(Cluster(address="processes", **said), runs=tmp_path) as crew:
        assert (crew.trials_at_once, crew.resources.cpus) == (
            at_once,
            said.get("cpus_per_trial", 1),
        )


def test_a_trial_that_needs_more_cores_than_there_are_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "n_cpus", lambda: 4)
    told = "needs 5 CPUs, but this machine has 4; .*--cluster.cpus_per_trial 4"
    with (
        pytest.raises(ClusterError, match=told),
        workers(Cluster(address="processes", cpus_per_trial=5), runs=tmp_path),
    ):
        pass


def test_processes_share_out_no_gpus(tmp_path: Path) -> None:
    told = r"gpus_per_trial=0\.5; use --cluster.address local"
    with (
        pytest.raises(ClusterError, match=told),
        workers(Cluster(address="processes", gpus_per_trial=0.5), runs=tmp_path),
    ):
        pass
