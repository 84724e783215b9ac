"""Starts Ray as something that Ctrl-C and SIGTERM can end at once, and that then leaves nothing.

Ray takes SIGTERM over while it starts: its driver would exit with a code of its own and no word, a
node may first wait half a minute for work to drain, its core prints a stack and aborts.
`cluster.connection.connect` starts it in here.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import ray


@contextmanager
def interruptible() -> Iterator[None]:
    """Whoever handled SIGINT and SIGTERM before the block handles them in it and after it.

    Where the block raises, what it has started is ended.
    """
    give_back = _handlers()
    alarm = signal.getitimer(signal.ITIMER_REAL)
    made: list[Any] = []

    class Node(ray._private.node.Node):  # type: ignore[misc]
        """Ray's own, which nobody could get at before all its processes have started.

        One that is private starts neither an autoscaler, nor what prints workers' logs, nor an API
        server: nobody asks them, and they take twice the processor time of all others.
        """

        def __init__(self, ray_params: Any, *args: Any, **kwargs: Any) -> None:
            made.append(self)
            ray_params.no_monitor, ray_params.include_log_monitor = True, False
            super().__init__(ray_params, *args, **kwargs)

        def start_api_server(self, **_: Any) -> None:
            """Ray starts it even where no dashboard is wanted."""

    def core(*args: Any, **kwargs: Any) -> Any:
        try:
            return _core_worker(*args, **kwargs)
        finally:
            give_back()  # now, and not when all is connected

    _core_worker = ray._raylet.CoreWorker
    try:
        with (
            _put(ray._private.utils, "set_sigterm_handler", lambda _: None),
            _put(ray._private.node, "Node", Node),
            _put(ray._raylet, "CoreWorker", core),
        ):
            yield
    except BaseException:
        # A signal that hits Ray's core makes it set an alarm, which would abort this process in
        # three seconds, whatever it leaves in order then (absl's `alarm_on_failure_secs`).
        signal.setitimer(signal.ITIMER_REAL, *alarm)
        for node in made:
            # An interrupt may have come before a node knew of its first process.
            with contextlib.suppress(AttributeError), _ending_all(node, at_once=True):
                node.kill_all_processes(check_alive=False, allow_graceful=False)
        raise
    finally:
        give_back()


def shut_down() -> None:
    """Lets go of Ray; SIGINT and SIGTERM stay with whoever handles them.

    Ray's core leaves them to the system when it ends: a second SIGTERM would then end this process
    before it has ended what it started.
    """
    give_back = _handlers()
    worker = ray._private.worker.global_worker
    if hasattr(worker, "core_worker"):
        worker.core_worker = _Core(worker.core_worker, give_back)
    try:
        with _ending_all(worker.node):
            ray.shutdown()
    finally:
        give_back()


@contextmanager
def _ending_all(node: Any, *, at_once: bool = False) -> Iterator[None]:
    """After the block nothing runs that a node's processes have started: none, where it only joins.

    An agent that has just been started when its raylet ends does not notice it for half a minute.
    `at_once`: nothing more is started from now on.
    """
    below: list[psutil.Process] = []
    for info in [one for some in getattr(node, "all_processes", {}).values() for one in some]:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(info.process.pid)
            if at_once:
                process.suspend()
            below += process.children(recursive=True)
    try:
        yield
    finally:
        for process in below:
            with contextlib.suppress(psutil.Error):  # most are gone
                process.kill()


class _Core:
    """Ray's core for the time of its end."""

    def __init__(self, core: Any, give_back: Callable[[], None]) -> None:
        self._core, self._give_back = core, give_back

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)

    def shutdown_driver(self) -> None:
        try:
            self._core.shutdown_driver()
        finally:
            self._give_back()


def _handlers() -> Callable[[], None]:
    """Gives SIGINT and SIGTERM back to whoever handles them now, whenever it is called."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def give_back() -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                if callable(handler):
                    signal.signal(number, handler)

    return give_back


@contextmanager
def _put(module: Any, name: str, value: Any) -> Iterator[None]:
    """`value` in the place of what the module has under that name."""
    original = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, original)
