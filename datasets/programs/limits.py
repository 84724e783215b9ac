"""Limits of the process that runs model files (see `datasets.processes.limits`)."""

MEMORY_BYTES = 384 * 2**20
"""Memory beyond that of the idle process (40 to 60 MB) and `PER_FILE_BYTE`. On Linux only."""
PER_FILE_BYTE = 3
"""Bytes more for each byte of the model files: what is read, and what a runtime makes of it."""

LOAD_CPU_S = 60
"""Processor seconds for loading the files, after which SIGPROF ends the process."""
RUN_CPU_S = 30
"""Likewise for one window."""

N_DESCRIPTORS = 5
"""Those of standard input, output and error, of the socket (3), and of one file."""
