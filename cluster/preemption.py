"""Preemption: SIGTERM asks a worker process to end soon, as before a spot machine is taken away.

The work function saves its state and raises `Preempted`; the trial then goes on in another process.
A process that trains nothing ends at once, and so does one that is asked twice. Ray's own worker
processes keep Ray's handler, which ends them at once: their trials count as lost.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EXIT_PREEMPTED = 128 + signal.SIGTERM

_requests: list[Callable[[], None]] = []
_state = {"requested": False, "working": False}


def end_soon_on_sigterm() -> None:
    """Makes SIGTERM a request to end soon; call it in the main thread of a worker process."""
    signal.signal(signal.SIGTERM, _handle)


def is_requested() -> bool:
    """Whether this process has been asked to end."""
    return _state["requested"]


@contextmanager
def working() -> Iterator[None]:
    """Within the block a trial runs, which may end in its own time."""
    _state["working"] = True
    try:
        yield
    finally:
        _state["working"] = False


@contextmanager
def calling(request: Callable[[], None]) -> Iterator[None]:
    """Within the block, `request` is called when this process is asked to end, or has been.

    It is called in a signal handler, so it should only take a note.
    """
    _requests.append(request)
    try:
        if is_requested():
            request()
        yield
    finally:
        _requests.remove(request)


def _handle(number: int, _: object) -> None:
    del number
    if not _state["working"] or _state["requested"]:
        os._exit(EXIT_PREEMPTED)
    _state["requested"] = True
    for request in list(_requests):
        request()
