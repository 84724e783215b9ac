"""Shadow answers: a second bundle predicts what was answered, later and in a process of its own.

What it predicts is not in any answer: it is compared with the answer, and its statistics are kept
like the server's own (`search.champion.health`). The server never waits for it: recordings that
arrive while it is busy are left out.
"""

import logging
import multiprocessing
import threading
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from chorale.datasets.errors import UserError
from chorale.search.bundle.bundle import BundleManifest
from chorale.search.bundle.loading import Waveform
from chorale.search.champion.serve.metrics import Metrics
from chorale.search.champion.serve.shadow_process import answer_again

LOG = logging.getLogger(__name__)

MAX_WAITING = 8
"""Recordings that wait for a shadow answer; more are left out."""

MAX_WAITING_BYTES = 64 * 2**20
"""The size of their samples: 6 minutes at 44.1 kHz."""

START_S, ANSWER_S = 120.0, 60.0
"""The longest start of the process, and the longest answer."""

MAX_CRASHES = 3
"""After so many crashes or timeouts in a row there are no more shadow answers."""


class _Recording(NamedTuple):
    """A recording that was answered with these labels."""

    waveform: Waveform
    sample_rate: int
    labels: Sequence[str]


class Shadow:
    """The shadow answers of one server, in the order of its answers."""

    def __init__(self, bundle: Path, health_dir: Path | None, metrics: Metrics) -> None:
        """Starts the process in the background.

        Args:
            bundle: the other bundle.
            health_dir: the folder for statistics of its answers; None for none.
            metrics: count what is answered and left out.
        """
        self._bundle, self._health_dir, self._metrics = bundle, health_dir, metrics
        self._queue: SimpleQueue[_Recording | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._n_waiting = self._n_bytes = self._n_crashes = 0
        self._ends = False
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None
        self._thread = threading.Thread(target=self._work, name="shadow", daemon=True)
        self._thread.start()

    def submit(self, waveform: Waveform, sample_rate: int, labels: Sequence[str]) -> None:
        """Takes a recording that was answered with these labels, or leaves it out; never waits."""
        with self._lock:
            has_room = (
                self._n_crashes < MAX_CRASHES
                and self._n_waiting < MAX_WAITING
                and self._n_bytes + waveform.nbytes <= MAX_WAITING_BYTES
            )
            if has_room:
                self._n_waiting += 1
                self._n_bytes += waveform.nbytes
        if has_room:
            self._queue.put(_Recording(waveform, sample_rate, labels))
        else:
            self._metrics.shadow_left_out.inc()

    def close(self) -> None:
        """Ends the process; recordings that wait are left out."""
        self._ends = True
        self._queue.put(None)
        self._end()
        self._thread.join(ANSWER_S)

    def _work(self) -> None:
        with suppress(EOFError, OSError):  # tried again with the first recording
            self._start()
        while (recording := self._queue.get()) is not None and not self._ends:
            try:
                self._answer(recording)
                self._n_crashes = 0
            except (EOFError, OSError) as error:  # TimeoutError is an OSError
                self._metrics.shadow_left_out.inc()
                self._end()
                self._n_crashes += not self._ends
                if self._n_crashes == MAX_CRASHES:
                    LOG.warning(
                        "no more shadow answers: the process of %s failed %d times in a row (%s)",
                        self._bundle, MAX_CRASHES, type(error).__name__,
                    )  # fmt: skip
            finally:
                with self._lock:
                    self._n_waiting -= 1
                    self._n_bytes -= recording.waveform.nbytes
        self._end()

    def _answer(self, recording: _Recording) -> None:
        """Counts whether the shadow answer of a recording is the same.

        Raises:
            EOFError, OSError: the process has crashed, or takes too long.
        """
        connection = self._start()
        connection.send((recording.sample_rate, list(recording.labels)))
        connection.send_bytes(recording.waveform.data.cast("B"))
        if not connection.poll(ANSWER_S):
            raise TimeoutError
        found = connection.recv()
        if isinstance(found, str):
            LOG.warning("no shadow answer: %s", found)
            self._metrics.shadow_left_out.inc()
        else:
            self._metrics.shadow_answers.labels("yes" if found else "no").inc()

    def _start(self) -> Connection:
        """The connection to a running process that is ready.

        Raises:
            EOFError, OSError: it ended at once, or did not become ready.
        """
        if self._connection is not None and self._process is not None and self._process.is_alive():
            return self._connection
        self._end()
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=answer_again, args=(theirs, self._bundle, self._health_dir), daemon=True
        )
        with self._lock:
            self._connection, self._process = ours, process
        process.start()
        theirs.close()
        if not ours.poll(START_S):
            raise TimeoutError
        ours.recv()
        return ours

    def _end(self) -> None:
        with self._lock:
            connection, process = self._connection, self._process
            self._connection = self._process = None
        if process is not None:
            with suppress(ValueError, AssertionError, AttributeError):  # it has not started
                process.kill()
                process.join(5)
        if connection is not None:
            connection.close()


def refuse_other_task(shadow: BundleManifest, served: BundleManifest, *, path: Path) -> None:
    """Refuses a bundle whose answers cannot be compared with those of the served one.

    Raises:
        UserError: one has one class a recording, the other any number of labels; or they have no
            label in common.
    """
    if shadow.task != served.task:
        raise UserError(
            f"--shadow '{path}' is for the task '{shadow.task}', but the served bundle is for "
            f"'{served.task}'; give a bundle of the same task"
        )
    if not {*shadow.labels} & {*served.labels}:
        raise UserError(
            f"--shadow '{path}' has no label in common with the served bundle; give a bundle of "
            f"the same classes"
        )
