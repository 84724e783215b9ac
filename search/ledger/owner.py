"""Who runs a study: this process's identity, and whether another one still lives.

The ledger asks here before it gives a study away.
"""

import os
import socket
from dataclasses import dataclass
from pathlib import Path

STALE_S = 180.0
"""A holder on another machine that gave no sign of life for so long is taken for dead."""
PROC = Path("/proc")


@dataclass(frozen=True)
class Holder:
    """One process. `name` is host:pid, for people; `process` tells it from every other one."""

    name: str
    process: str

    @classmethod
    def me(cls) -> "Holder":
        """The process that asks."""
        pid = os.getpid()
        return cls(f"{socket.gethostname()}:{pid}", _identity(pid) or "")

    def alive(self, *, beat_age_s: float | None) -> bool:
        """Whether it still runs; when in doubt, it does.

        Where it was started on this machine its process is looked up, and one that only has its
        number counts for nothing. Elsewhere its last sign of life counts, `beat_age_s` ago.
        """
        host, _, pid = self.name.rpartition(":")
        if host == socket.gethostname() and pid.isdecimal():
            if not self.process:
                return _exists(int(pid))
            if _machine(self.process) == _machine(_identity(os.getpid()) or ""):
                return _identity(int(pid)) == self.process
        # Another machine, or one that was started again, or another container.
        return beat_age_s is None or beat_age_s <= STALE_S


def _machine(identity: str) -> str:
    return identity.rpartition(":")[0]


def _identity(pid: int) -> str | None:
    """Boot, process namespace and start time of a process; None: it is dead, or /proc is not here.

    Two containers on one machine may have the same host name and process numbers, so the namespace
    is part of it.
    """
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink(PROC / "self/ns/pid")  # noqa: PTH115
        # The command in brackets may hold anything, so count from its end.
        state, *fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    if state in "ZX":  # killed, and its parent has not looked yet
        return None
    started = fields[18]  # the 22nd field of /proc/PID/stat, in ticks since the boot
    return f"{boot}/{space}:{started}"


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
