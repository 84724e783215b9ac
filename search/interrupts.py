"""Signal handling (Ctrl-C, SIGTERM): both raise KeyboardInterrupt and end the process in seconds.

Libraries in between turn a KeyboardInterrupt into errors of their own (Lightning into an exit);
`was_interrupted` says whether an error followed a signal. Python drops an exception that is raised
in a finaliser, so the interrupt is raised again until it gets through. During the clean-up a second
signal changes nothing; where the clean-up takes too long the process is ended without it, which
loses nothing: the ledger and every file are consistent at any moment. A first signal that arrives
during a database transaction, or in compiled code that would drop it, waits for the end
(`deferred`).
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

RAISE_AGAIN_S = 2.0
"""Seconds after which an interrupt that had no effect is raised again."""
GRACE_PERIOD_S = 10.0
"""Seconds that the clean-up after a signal may take."""
GRACE_PERIOD_OVER = (
    f"interrupted, and ended after {GRACE_PERIOD_S:.0f} s without a full clean-up; every finished "
    f"trial is kept"
)
"""The message of a process that is ended at the end of the grace period."""
EXIT_INTERRUPTED = 130
"""The exit code of a command that was ended by a signal."""

_received: list[int] = []
_defers = _is_deferred = False
_exiting = threading.Event()
_exit_code: int | None = None
_finished = threading.Event()
_exit_message: Callable[[], str] = lambda: ""  # noqa: E731


def install_handlers(exit_message: Callable[[], str] | None = None) -> None:
    """From now on both signals raise KeyboardInterrupt in the main thread, and are recorded.

    `exit_message` gives what is printed on stderr if the grace period ends.
    """
    global _exit_code, _is_deferred, _exit_message, _finished
    _received.clear()
    _exiting.clear()
    _exit_code, _is_deferred = None, False
    _finished = threading.Event()
    _exit_message = exit_message or (lambda: "")
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)


def finish() -> None:
    """The command has ended, but the process goes on: cancels the grace period."""
    _finished.set()


def prepare_exit(code: int | None = None) -> None:
    """The command has ended, and the process will exit with `code`: ignores further signals.

    If there was a signal, `GRACE_PERIOD_S` also covers the exit of the interpreter and of
    libraries.
    """
    global _exit_code
    _exit_code = code
    _exiting.set()


@atexit.register
def _exit() -> None:
    """Exits at once where the exit code is known, else ignores signals.

    Registered before libraries were imported, so it runs after their exit handlers. The
    interpreter's own teardown is skipped: it takes PyTorch up to a second, and after an interrupt
    it may crash. Python also restores the default signal handlers before it ends, which would then
    change the exit code of a finished command.
    """
    if not _exiting.is_set():
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if _exit_code is None or sys.gettrace() is not None:  # coverage tools write their data last
        return
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):  # closed pipe or full disk: Python reports it at its own exit
        if _exit_code != EXIT_INTERRUPTED:
            return
    os._exit(_exit_code)


@contextmanager
def deferred() -> Iterator[None]:
    """Defers a first signal that arrives in the block to its end; a second one is raised at once.

    So Ctrl-C leaves nothing half done, and a database that hangs does not block the exit. A block
    within another adds nothing. Outside the main thread it does nothing: signals are only raised
    there.

    Raises:
        KeyboardInterrupt: at the end, where a signal arrived.
    """
    global _defers, _is_deferred
    if _defers or threading.current_thread() is not threading.main_thread():
        yield
        return
    _defers, _is_deferred = True, False
    try:
        yield
    finally:
        _defers = False
        if _is_deferred:
            raise KeyboardInterrupt


def was_interrupted() -> bool:
    """Whether a signal arrived since `install_handlers`."""
    return bool(_received)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    global _is_deferred
    _received.append(number)
    if len(_received) == 1:
        threading.Thread(target=_raise_until_over, args=(number, _finished), daemon=True).start()
        if _defers:
            _is_deferred = True
            return
    if not (_exiting.is_set() or _is_unwinding(sys.exc_info()[1])):
        raise KeyboardInterrupt


def _is_unwinding(error: BaseException | None) -> bool:
    """Whether the exception that the main thread handles now already ends the command."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            return True
        error = error.__cause__ or error.__context__
    return False


def _raise_until_over(number: int, finished: threading.Event) -> None:
    """Raises the interrupt repeatedly, and ends the process at the end of the grace period."""
    limit_s = time.monotonic() + GRACE_PERIOD_S
    while time.monotonic() < limit_s:
        if finished.wait(RAISE_AGAIN_S):
            return
        # Simulated, not sent: while Ray's core exits, it resets real signals to their defaults.
        _thread.interrupt_main(signal.Signals(number))
    with contextlib.suppress(OSError, ValueError):  # stderr is closed
        os.write(sys.stderr.fileno(), _exit_message().encode())
    os._exit(EXIT_INTERRUPTED)
