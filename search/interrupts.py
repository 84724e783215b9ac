"""Ctrl-C and SIGTERM: both raise KeyboardInterrupt, are remembered, and are obeyed within seconds.

Libraries in between turn a KeyboardInterrupt into errors of their own (Lightning into an exit);
who asks `received` knows what an error after it really was. Python drops one that is raised in a
finaliser, so it is raised again until somebody lets it through. While what was begun is left in
order a second signal changes nothing; where that takes too long the process ends as it stands,
which loses nothing: the ledger and every file are whole at any moment. A first signal that comes
in the middle of a transaction waits for its end (`transaction`): libraries of databases are not
made to be left anywhere.
"""

import _thread
import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

AGAIN_S = 2.0
"""After so many seconds a signal that nobody obeys is raised again."""
LIMIT_S = 10.0
"""So long a process may take to leave everything in order."""
CUT_SHORT = (
    f"interrupted, and ended after {LIMIT_S:.0f} s as it stood; every finished trial is kept"
)
"""What is said then."""
INTERRUPTED = 130
"""The exit code of a command that was ended by a signal."""

_received: list[int] = []
_in_transaction = _is_deferred = False
_leaving = threading.Event()
_code: int | None = None
_over = threading.Event()
_last_words: Callable[[], str] = lambda: ""  # noqa: E731


def listen(last_words: Callable[[], str] | None = None) -> None:
    """From now on both signals raise KeyboardInterrupt in the main thread, and are remembered.

    `last_words` is what stderr is told where the process has to end as it stands.
    """
    global _code, _is_deferred, _last_words, _over
    _received.clear()
    _leaving.clear()
    _code, _is_deferred = None, False
    _over = threading.Event()
    _last_words = last_words or (lambda: "")
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)


def over() -> None:
    """The command has ended, and the process goes on: nobody is waited for any more."""
    _over.set()


def leave(code: int | None = None) -> None:
    """The command has ended, and the process will, as `code`: signals are not raised any more.

    If there was one, `LIMIT_S` holds for what the interpreter and libraries do at its end, too.
    """
    global _code
    _code = code
    _leaving.set()


@atexit.register
def _end() -> None:
    """Ends the process where its code is known, else sees that no signal changes it.

    This was registered before libraries were imported, so it comes after what they leave in order.
    Nothing is taken apart any more: that takes PyTorch up to a second, and what a signal broke into
    may crash then. Python gives signals back to the system before it is gone, where they would end
    what is over.
    """
    if not _leaving.is_set():
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if _code is None or sys.gettrace() is not None:  # what measures coverage writes it last of all
        return
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):  # nobody reads it, or there is no room: Python tells of that
        if _code != INTERRUPTED:
            return
    os._exit(_code)


@contextmanager
def transaction() -> Iterator[None]:
    """A first signal that comes in the block is obeyed at the block's end; a second one at once.

    So nothing is left half done by Ctrl-C, and a database that hangs does not keep anybody. Blocks
    do not nest. In other threads than the main one it does nothing: signals do not come there.

    Raises:
        KeyboardInterrupt: at the end, where a signal came.
    """
    global _in_transaction, _is_deferred
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _in_transaction, _is_deferred = True, False
    try:
        yield
    finally:
        _in_transaction = False
        if _is_deferred:
            raise KeyboardInterrupt


def received() -> bool:
    """Whether one of them came since `listen`."""
    return bool(_received)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    global _is_deferred
    _received.append(number)
    if len(_received) == 1:
        threading.Thread(target=_insist, args=(number, _over), daemon=True).start()
        if _in_transaction:
            _is_deferred = True
            return
    if not (_leaving.is_set() or _is_obeyed(sys.exc_info()[1])):
        raise KeyboardInterrupt


def _is_obeyed(error: BaseException | None) -> bool:
    """Whether the main thread is on its way out, which is told by what it is handling now."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            return True
        error = error.__cause__ or error.__context__
    return False


def _insist(number: int, over: threading.Event) -> None:
    """Raises the signal again and again, and in the end does without anybody's help."""
    limit_s = time.monotonic() + LIMIT_S
    while time.monotonic() < limit_s:
        if over.wait(AGAIN_S):
            return
        # Not a true signal: Ray's core, as it ends, leaves those to the system for a moment.
        _thread.interrupt_main(signal.Signals(number))
    with contextlib.suppress(OSError, ValueError):  # nobody reads it
        os.write(sys.stderr.fileno(), _last_words().encode())
    os._exit(INTERRUPTED)
