import os
from pathlib import Path

import pytest

from chorale.cluster import machine


@pytest.mark.parametrize(
    ("said", "n"),
    [("max 100000", 8), ("250000 100000", 2), ("50000 100000", 1), ("900000 100000", 8), ("", 8)],
)
def test_a_container_has_the_cores_of_its_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, n: int
) -> None:
    (tmp_path / "cpu.max").write_text(said)
    monkeypatch.setattr(machine, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert machine.n_cpus() == n


def test_cores_are_those_that_the_process_is_bound_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "QUOTA", Path("/nonexistent"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7})
    assert machine.n_cpus() == 3


def test_what_the_kernel_ended_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vmstat").write_text("pgfault 7\noom_kill 2\noom_kill_disable 0\n")
    (tmp_path / "events").write_text("low 0\noom 5\noom_kill 1\noom_group_kill 0\n")
    files = (tmp_path / "vmstat", tmp_path / "events", tmp_path / "missing")
    monkeypatch.setattr(machine, "KILLS", files)
    assert machine.n_killed() == 3


def test_a_gpu_is_told_by_its_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "GPUS", (tmp_path / "nvidiactl", tmp_path / "kfd"))
    assert not machine.may_have_gpu()
    (tmp_path / "kfd").touch()
    assert machine.may_have_gpu()
