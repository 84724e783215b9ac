"""The owner of a lease: the identity of a process, and whether it is still alive.

The ledger checks it before it gives a study's lease to another process.
"""

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chorale.datasets.errors import UserError

STALE_S = 180.0
"""An owner on another machine without a heartbeat for this long counts as dead."""
PROC = Path("/proc")


@dataclass(frozen=True)
class Owner:
    """One process. `name` is host:pid, for display; `process` identifies it uniquely."""

    name: str
    process: str

    @classmethod
    def current(cls) -> "Owner":
        """The calling process."""
        pid = os.getpid()
        return cls(f"{socket.gethostname()}:{pid}", _identity(pid) or "")

    def is_alive(self, *, heartbeat_age_s: float | None) -> bool:
        """Whether it still runs; if unknown, it does.

        On this machine its process is looked up, and another process with its pid does not count.
        On other machines its last heartbeat, `heartbeat_age_s` ago, decides.
        """
        host, _, pid = self.name.rpartition(":")
        if host == socket.gethostname() and pid.isdecimal():
            if not self.process:
                return _exists(int(pid))
            if _machine(self.process) == _machine(_identity(os.getpid()) or ""):
                return _identity(int(pid)) == self.process
        # Another machine, this machine before a reboot, or another container.
        return heartbeat_age_s is None or heartbeat_age_s <= STALE_S


def _machine(identity: str) -> str:
    return identity.rpartition(":")[0]


def _identity(pid: int) -> str | None:
    """Boot id, process namespace and start time of a process; None if it is dead or without /proc.

    Two containers on one machine may share host name and pids, so the namespace is part of it.
    """
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink(PROC / "self/ns/pid")  # noqa: PTH115
        # The command in brackets may contain anything, so fields are counted after it.
        state, *fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    if state in "ZX":  # a zombie: it ended, and its parent has not waited for it
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


def heartbeat_age_s(row: Any, now_s: float) -> float | None:
    """Seconds since the owner's last heartbeat."""
    return None if row.beat_s is None else max(now_s - row.beat_s, 0.0)


def owner_is_alive(row: Any, now_s: float) -> bool:
    """Whether a live process runs the study."""
    if row.state != "running" or not row.holder:
        return False
    owner = Owner(row.holder, row.holder_process or "")
    return owner.is_alive(heartbeat_age_s=heartbeat_age_s(row, now_s))


def refuse_leased(row: Any, now_s: float) -> None:
    """Refuses a study whose lease another live process holds.

    Raises:
        UserError: one does.
    """
    mine = Owner(row.holder or "", row.holder_process or "") == Owner.current()
    if mine or not owner_is_alive(row, now_s):
        return
    age_s = heartbeat_age_s(row, now_s)
    last = "" if age_s is None else f" (last heartbeat {age_s:.0f} s ago)"
    raise UserError(
        f"study '{row.name}' is being run by {row.holder}{last}; wait for it, or end that process; "
        f"if you are sure that it has ended, add --take-over"
    )
