"""Event files are readable by TensorBoard, also after a full disk."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from chorale.datasets.disk import skip_if_unwritable
from chorale.lightning_models.training.events import EventFile


def curve(folder: Path, tag: str) -> list[tuple[int, float]]:
    """A tag's values in TensorBoard: step and value."""
    events = EventAccumulator(str(folder))
    events.Reload()
    return [(one.step, one.value) for one in events.Scalars(tag)]


def test_scalars_are_readable_immediately(tmp_path: Path) -> None:
    file = EventFile(tmp_path / "trial")
    file.scalars({"loss": 1.5, "lr": 0.25}, step=1)
    assert curve(tmp_path / "trial", "loss") == [(1, 1.5)]
    file.scalars({"loss": 0.5}, step=2)
    file.close()
    assert curve(tmp_path / "trial", "loss") == [(1, 1.5), (2, 0.5)]


def test_files_of_one_process_have_different_names(tmp_path: Path) -> None:
    for step in (1, 2):
        file = EventFile(tmp_path)
        file.scalars({"loss": float(step)}, step=step)
        file.close()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_without_events_is_not_created(tmp_path: Path) -> None:
    EventFile(tmp_path / "trial").close()
    assert list(tmp_path.iterdir()) == []


def test_a_partial_event_is_truncated_if_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = EventFile(tmp_path)
    file.scalars({"loss": 1.5}, step=1)
    write, room = os.write, [10]

    def full(handle: int, data: Any) -> int:
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(handle, bytes(data)[: room.pop()])

    left_out: list[str] = []
    with monkeypatch.context() as patch, skip_if_unwritable("curves", left_out):
        patch.setattr(os, "write", full)
        file.scalars({"loss": 0.5}, step=2)
    assert left_out == ["curves (No space left on device)"]
    file.scalars({"loss": 0.25}, step=3)
    file.close()
    assert curve(tmp_path, "loss") == [(1, 1.5), (3, 0.25)]
