"""Ctrl-C and SIGTERM: both raise KeyboardInterrupt, and are remembered.

Libraries in between turn a KeyboardInterrupt into errors of their own (Lightning into an exit);
who asks `received` knows what an error after it really was.
"""

import signal
from types import FrameType
from typing import NoReturn

_received: list[int] = []


def listen() -> None:
    """From now on both signals raise KeyboardInterrupt in the main thread, and are remembered."""
    _received.clear()
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)


def received() -> bool:
    """Whether one of them came since `listen`."""
    return bool(_received)


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    _received.append(number)
    raise KeyboardInterrupt
