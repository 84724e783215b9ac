"""Limits that a child process sets for itself, since the files that it reads may be hostile.

The operating system holds them: default signals end the process even where a native library does
not return to Python. The process can neither write files nor open one beside those it was sent.
"""

import resource
import signal
from contextlib import suppress
from pathlib import Path


def limit_process(*, n_descriptors: int, memory_bytes: int) -> None:
    """Limits memory and files, once the libraries are imported and before any file is read.

    Args:
        n_descriptors: open files, sockets and standard streams.
        memory_bytes: beyond those of the idle process; an allocation beyond fails. Linux only.
    """
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (n_descriptors, n_descriptors))
    idle = _address_space_bytes()
    if idle is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = idle + memory_bytes
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def limit_cpu(seconds: int) -> None:
    """The processor time from now on, after which SIGXCPU ends the process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    limit = int(usage.ru_utime + usage.ru_stime) + seconds
    if hard == resource.RLIM_INFINITY or limit <= hard:
        resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))


def limit_stall(seconds: float) -> None:
    """The processor time from now on, after which SIGPROF ends the process; 0: none."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


def _address_space_bytes() -> int | None:
    """The address space of this process; None where the system does not tell."""
    with suppress(OSError, ValueError):
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    return None
