"""Limits that the decoder process sets for itself, since the files that it decodes may be hostile.

The operating system holds them: default signals end the process even where FFmpeg does not return
to Python. The process can neither write files nor open one beside the file that it was sent.
"""

import resource
import signal
from contextlib import suppress
from pathlib import Path

STALL_CPU_S = 2.0
"""Processor seconds without another decoded sample, after which SIGPROF ends the process."""
FILE_CPU_S = 120
"""Processor seconds for one file, after which SIGXCPU ends the process."""
MEMORY_BYTES = 512 * 2**20
"""Memory beyond that of the idle process; an allocation beyond it fails. On Linux only."""

N_DESCRIPTORS = 5
"""Those of standard input, output and error, of the socket (3), and of one file."""


def limit_process() -> None:
    """Limits memory and files, once the libraries are imported and before any file is opened."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (N_DESCRIPTORS, N_DESCRIPTORS))
    idle = _address_space_bytes()
    if idle is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = idle + MEMORY_BYTES
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def limit_file() -> None:
    """Starts the processor time of one file."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    limit = int(usage.ru_utime + usage.ru_stime) + FILE_CPU_S
    if hard == resource.RLIM_INFINITY or limit <= hard:
        resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))
    note_progress()


def note_progress() -> None:
    """Restarts the processor time that may pass without progress."""
    signal.setitimer(signal.ITIMER_PROF, STALL_CPU_S)


def end_file() -> None:
    """Stops the processor time without progress."""
    signal.setitimer(signal.ITIMER_PROF, 0)


def _address_space_bytes() -> int | None:
    """The address space of this process; None where the system does not tell."""
    with suppress(OSError, ValueError):
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    return None
