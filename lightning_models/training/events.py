"""Writes TensorBoard event files synchronously: a writer thread's errors would go unnoticed.

`callbacks.EpochEnd` writes the scalars of a training, `search.report.tensorboard` the
hyperparameters of a trial.
"""

import io
import itertools
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

_number = itertools.count()
"""Distinguishes the files that one process creates within a second."""


class EventFile:
    """A new event file in `folder`, created when the first event is written.

    After a failed write the file is truncated to whole events: readers stop at a partial one.
    """

    def __init__(self, folder: Path, *, suffix: str = "") -> None:
        """`suffix` is appended to the file's name."""
        # TensorBoard reads the files of a folder in the order of their names
        name = f"{time.time():010.0f}.{socket.gethostname()}.{os.getpid()}.{next(_number)}{suffix}"
        self._path = folder / f"events.out.tfevents.{name}"
        self._handle: int | None = None

    def scalars(self, values: Mapping[str, float], *, step: int) -> None:
        """Writes scalars by tag.

        Raises:
            OSError: they cannot be written; none of them is.
        """
        summary = Summary(value=[Summary.Value(tag=t, simple_value=v) for t, v in values.items()])
        self.write([Event(summary=summary, wall_time=time.time(), step=step)])

    def write(self, events: list[Any]) -> None:
        """Appends events, all of them or none.

        Raises:
            OSError: they cannot be written.
        """
        if self._handle is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._handle = os.open(self._path, flags, 0o666)
        before = os.fstat(self._handle).st_size
        if not before:
            events = [Event(wall_time=time.time(), file_version="brain.Event:2"), *events]
        records = io.BytesIO()
        for event in events:
            RecordWriter(records).write(event.SerializeToString())
        unwritten = records.getbuffer()
        try:
            while unwritten:
                unwritten = unwritten[os.write(self._handle, unwritten) :]
        except OSError as error:
            os.ftruncate(self._handle, before)
            error.filename = str(self._path)
            raise

    def close(self) -> None:
        """Closes the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
