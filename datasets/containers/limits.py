"""Limits of the decoder process (see `datasets.processes.limits`)."""

from chorale.datasets.processes import limits

STALL_CPU_S = 2.0
"""Processor seconds without another decoded sample, after which SIGPROF ends the process."""
FILE_CPU_S = 120
"""Processor seconds for one file, after which SIGXCPU ends the process."""
MEMORY_BYTES = 512 * 2**20
"""Memory beyond that of the idle process; an allocation beyond it fails. On Linux only."""

N_DESCRIPTORS = 5
"""Those of standard input, output and error, of the socket (3), and of one file."""


def limit_decoder() -> None:
    """Limits memory and files, once the libraries are imported and before any file is opened."""
    limits.limit_process(n_descriptors=N_DESCRIPTORS, memory_bytes=MEMORY_BYTES)


def limit_file() -> None:
    """Starts the processor time of one file."""
    limits.limit_cpu(FILE_CPU_S)
    note_progress()


def note_progress() -> None:
    """Restarts the processor time that may pass without progress."""
    limits.limit_stall(STALL_CPU_S)


def end_file() -> None:
    """Stops the processor time without progress."""
    limits.limit_stall(0)
