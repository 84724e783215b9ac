import os
from pathlib import Path

import pytest

from chorale.cluster import machine


@pytest.mark.parametrize(
    ("quota", "n"),
    [("max 100000", 8), ("250000 100000", 2), ("50000 100000", 1), ("900000 100000", 8), ("", 8)],
)
def test_n_cpus_of_a_container_follows_its_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, n: int
) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(machine, "CPU_QUOTA_FILE", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert machine.n_cpus() == n


def test_n_cpus_without_a_quota_follows_the_cpu_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CPU_QUOTA_FILE", Path("/nonexistent"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7})
    assert machine.n_cpus() == 3


def test_oom_kills_are_summed_over_all_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vmstat").write_text("pgfault 7\noom_kill 2\noom_kill_disable 0\n")
    (tmp_path / "events").write_text("low 0\noom 5\noom_kill 1\noom_group_kill 0\n")
    files = (tmp_path / "vmstat", tmp_path / "events", tmp_path / "missing")
    monkeypatch.setattr(machine, "OOM_KILL_FILES", files)
    assert machine.n_oom_kills() == 3


def test_a_gpu_is_detected_by_its_device_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "GPU_DEVICES", (tmp_path / "nvidiactl", tmp_path / "kfd"))
    assert not machine.may_have_gpu()
    (tmp_path / "kfd").touch()
    assert machine.may_have_gpu()
