"""Signal handling while Ray starts and stops: SIGINT and SIGTERM end it at once, without leftovers.

Ray replaces the SIGTERM handler while it starts: its driver would exit with its own code and
without a message, a node may wait half a minute for work to drain, and its core prints a stack
trace and aborts. `cluster.connection.connect` starts Ray inside `interruptible`.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import ray

from chorale.cluster._ray import global_worker, lean_start


@contextmanager
def interruptible() -> Iterator[None]:
    """Keeps the current handlers of SIGINT and SIGTERM while the block starts Ray, and after it.

    If the block raises, the Ray processes that it started are killed.
    """
    restore_handlers = _saved_handlers()
    alarm = signal.getitimer(signal.ITIMER_REAL)
    started: list[Any] = []

    try:
        with lean_start(started.append, restore_handlers):
            yield
    except BaseException:
        # On a signal Ray's core sets an alarm that would abort this process after three seconds,
        # in the middle of its cleanup (absl's `alarm_on_failure_secs`).
        signal.setitimer(signal.ITIMER_REAL, *alarm)
        for node in started:
            # The interrupt may have come before the node had its first process.
            with contextlib.suppress(AttributeError), _killing_descendants(node, at_once=True):
                node.kill_all_processes(check_alive=False, allow_graceful=False)
        raise
    finally:
        restore_handlers()


def shut_down_ray() -> None:
    """Disconnects from Ray and keeps the current handlers of SIGINT and SIGTERM.

    Ray's core resets them to the system's defaults on shutdown: a second SIGTERM would then end
    this process before its own cleanup.
    """
    restore_handlers = _saved_handlers()
    worker = global_worker()
    if hasattr(worker, "core_worker"):
        worker.core_worker = _ClosingCore(worker.core_worker, restore_handlers)
    try:
        with _killing_descendants(worker.node):
            ray.shutdown()
    finally:
        restore_handlers()


@contextmanager
def _killing_descendants(node: Any, *, at_once: bool = False) -> Iterator[None]:
    """Kills, after the block, what a node's processes have started; nothing for a joined cluster.

    An agent that has just started when its raylet ends does not notice that for half a minute.
    `at_once` suspends the node's processes, so that they start nothing more.
    """
    descendants: list[psutil.Process] = []
    for info in [one for some in getattr(node, "all_processes", {}).values() for one in some]:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(info.process.pid)
            if at_once:
                process.suspend()
            descendants += process.children(recursive=True)
    try:
        yield
    finally:
        for process in descendants:
            with contextlib.suppress(psutil.Error):  # most have ended
                process.kill()


class _ClosingCore:
    """Ray's core during shutdown: restores the signal handlers as soon as the core has ended."""

    def __init__(self, core: Any, restore_handlers: Callable[[], None]) -> None:
        self._core, self._restore_handlers = core, restore_handlers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)

    def shutdown_driver(self) -> None:
        try:
            self._core.shutdown_driver()
        finally:
            self._restore_handlers()


def _saved_handlers() -> Callable[[], None]:
    """Returns a function that restores the current handlers of SIGINT and SIGTERM."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore_handlers() -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                if callable(handler):
                    signal.signal(number, handler)

    return restore_handlers
