"""A child process that the caller talks to over a socket: started, ended, forgotten after a fork.

It ends when the caller's end of the socket is closed, so also when the caller is killed.
"""

import os
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress

_ours: "weakref.WeakSet[ChildProcess]" = weakref.WeakSet()
_lock = threading.Lock()


class ChildProcess:
    """One child process.

    Args:
        program: what Python runs; its last argument will be the descriptor of its socket.
        wait_s: seconds without a message after which receiving raises TimeoutError.
        environment: variables that it gets beside the caller's.
    """

    def __init__(
        self, program: Sequence[str], *, wait_s: float, environment: Mapping[str, str] | None = None
    ) -> None:
        self.channel, theirs = socket.socketpair()
        self.channel.settimeout(wait_s)
        paths = os.pathsep.join(sys.path)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, *program, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # libraries write about damaged files
                pass_fds=[theirs.fileno()],
                env={**os.environ, **(environment or {}), "PYTHONPATH": paths},
                start_new_session=True,  # Ctrl-C is for the caller
            )
        with _lock:
            _ours.add(self)

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """False after the process has ended."""
        return self._process.poll() is None

    def exit_code(self) -> int | None:
        """With what it ended by itself, negative for a signal; None where it still runs."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1)  # it may be ending
        return self._process.poll()

    def end(self) -> None:
        """Ends the process."""
        self.channel.close()
        self._process.kill()
        self._process.wait()

    def forget(self) -> None:
        """Closes this end in a forked process, where the child process belongs to the parent."""
        self.channel.close()


def _forget_all() -> None:
    global _lock
    _lock = threading.Lock()  # another thread of the parent may have held it
    for process in list(_ours):
        process.forget()
    _ours.clear()


os.register_at_fork(after_in_child=_forget_all)
