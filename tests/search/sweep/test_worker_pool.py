"""Worker pools: which cluster a sweep joins, and the resources of its trials."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from chorale.cluster import machine
from chorale.cluster.base import ClusterError, Resources
from chorale.cluster.connection import connect as connecting
from chorale.cluster.connection import nodes
from chorale.cluster.doctor import doctor
from chorale.cluster.local_workers import fork_client
from chorale.cluster.local_workers.runner import ProcessRunner
from chorale.cluster.transfer import folders
from chorale.search.config.schema import ClusterConfig
from chorale.search.sweep.worker_pool import trial_resources, worker_pool


@pytest.fixture(autouse=True)
def _import_runner() -> None:
    """Imports Tune's runner, which would otherwise keep an `n_slots` that a test here patched."""
    import chorale.cluster.tune.runner  # noqa: F401


CPUS, GPUS = Resources(8), Resources(16, 4)


@pytest.mark.parametrize(
    ("settings", "size", "expected"),
    [
        ({}, CPUS, Resources(1)),
        ({}, GPUS, Resources(1, 1)),
        ({"gpus_per_trial": 0.25}, GPUS, Resources(1, 0.25)),
        ({"gpus_per_trial": 0}, GPUS, Resources(1)),
        ({"gpus_per_trial": 2}, GPUS, Resources(2, 2, 2)),
        ({"gpus_per_trial": 2, "cpus_per_trial": 3}, GPUS, Resources(6, 2, 2)),
        ({"gpus_per_trial": 2, "workers_per_trial": 2}, GPUS, Resources(2, 2, 2)),
        ({"workers_per_trial": 3}, GPUS, Resources(3, 3, 3)),
        ({"workers_per_trial": 2, "gpus_per_trial": 0}, GPUS, Resources(2, 0, 2)),
        ({"workers_per_trial": 2, "cpus_per_trial": 2}, CPUS, Resources(4, 0, 2)),
    ],
)
def test_a_trial_gets_the_resources_of_its_settings(
    settings: dict[str, Any], size: Resources, expected: Resources
) -> None:
    assert trial_resources(ClusterConfig(**settings), size) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gpus_per_trial": 1.5}, r"a part of one GPU or several whole ones.*=1\.5; write 1 or 2"),
        (
            {"gpus_per_trial": 2, "workers_per_trial": 3},
            r"workers_per_trial=3 and cluster\.gpus_per_trial=2; .* or write 2",
        ),
        ({"gpus_per_trial": 0.5, "workers_per_trial": 2}, r"leave workers_per_trial out"),
    ],
)
def test_contradictory_resources_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ClusterError, match=message):
        trial_resources(ClusterConfig(**settings), GPUS)


@pytest.mark.parametrize("settings", [{"workers_per_trial": 2}, {"gpus_per_trial": 2}])
def test_without_ray_a_trial_has_one_process(settings: dict[str, Any]) -> None:
    message = r"without Ray one process trains each trial, but got cluster\..*=2"
    with (
        pytest.raises(ClusterError, match=message),
        worker_pool(ClusterConfig(address="none", **settings), runs=Path("runs")),
    ):
        pass


@pytest.mark.parametrize(
    ("config", "in_job", "joined", "checked"),
    [
        (ClusterConfig(), False, "local", False),
        (ClusterConfig(), True, "auto", True),
        (ClusterConfig(address="local"), True, "local", False),
        (ClusterConfig(address="head:6379"), False, "head:6379", True),
    ],
)
def test_a_sweep_in_a_ray_job_joins_its_cluster_and_checks_it_first(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    config: ClusterConfig,
    in_job: bool,
    joined: str,
    checked: bool,
) -> None:
    happened: list[Any] = []

    @contextmanager
    def connect(address: str, **_: Any) -> Iterator[Resources]:
        happened.append(address)
        yield Resources(2)

    monkeypatch.setattr(machine, "may_have_gpu", lambda: True)
    monkeypatch.setattr(connecting, "connect", connect)
    monkeypatch.setattr(nodes, "n_slots", lambda _: 2)
    monkeypatch.setattr(folders, "share_folder", lambda _: nullcontext(tmp_path))
    monkeypatch.setattr(folders, "all_nodes_see_folder", lambda _: True)
    monkeypatch.setattr(doctor, "quick_check", lambda: happened.append("checked"))
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}" if in_job else "")
    with worker_pool(config, runs=tmp_path) as pool:
        assert pool.trials_at_once == 2
    assert happened == [joined, *(["checked"] if checked else [])]


@pytest.mark.parametrize(
    ("config", "has_gpu", "without_ray"),
    [
        (ClusterConfig(), False, True),
        (ClusterConfig(), True, False),
        (ClusterConfig(gpus_per_trial=0), True, True),
        (ClusterConfig(gpus_per_trial=0.5), False, False),
        (ClusterConfig(workers_per_trial=2), False, False),
        (ClusterConfig(address="processes"), True, True),
        (ClusterConfig(address="local"), False, False),
    ],
)
def test_ray_is_used_on_one_machine_only_for_gpus_or_several_processes(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    config: ClusterConfig,
    has_gpu: bool,
    without_ray: bool,
) -> None:
    @contextmanager
    def connect(address: str, **_: Any) -> Iterator[Resources]:
        assert address == "local"
        yield Resources(4, float(has_gpu))

    monkeypatch.setattr(machine, "may_have_gpu", lambda: has_gpu)
    monkeypatch.setattr(machine, "n_cpus", lambda: 4)
    monkeypatch.setattr(fork_client, "fork_server", lambda _: nullcontext(tmp_path / "socket"))
    monkeypatch.setattr(connecting, "connect", connect)
    monkeypatch.setattr(nodes, "n_slots", lambda _: 4)
    with worker_pool(config, runs=tmp_path) as pool:
        assert isinstance(pool.runner, ProcessRunner) == without_ray
        assert pool.trials_at_once == 4


@pytest.mark.parametrize(
    ("settings", "at_once"),
    [({}, 4), ({"trials_at_once": 3}, 3), ({"trials_at_once": 9}, 4), ({"cpus_per_trial": 3}, 1)],
)
def test_processes_share_the_cores_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: dict[str, Any], at_once: int
) -> None:
    monkeypatch.setattr(machine, "n_cpus", lambda: 4)
    monkeypatch.setattr(fork_client, "fork_server", lambda _: nullcontext(tmp_path / "socket"))
    with worker_pool(ClusterConfig(address="processes", **settings), runs=tmp_path) as pool:
        assert (pool.trials_at_once, pool.resources.cpus) == (
            at_once,
            settings.get("cpus_per_trial", 1),
        )


def test_a_trial_with_more_cores_than_the_machine_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "n_cpus", lambda: 4)
    message = "needs 5 CPUs, but this machine has 4; .*--cluster.cpus_per_trial 4"
    with (
        pytest.raises(ClusterError, match=message),
        worker_pool(ClusterConfig(address="processes", cpus_per_trial=5), runs=tmp_path),
    ):
        pass


def test_gpus_without_ray_are_refused(tmp_path: Path) -> None:
    message = r"gpus_per_trial=0\.5; use --cluster.address local"
    with (
        pytest.raises(ClusterError, match=message),
        worker_pool(ClusterConfig(address="processes", gpus_per_trial=0.5), runs=tmp_path),
    ):
        pass
