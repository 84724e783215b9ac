"""Fractional GPUs: the share of a GPU that a trial takes, from its expected memory.

`search.sweep.gpu_shares` estimates what a trial needs; `cluster.tune.runner` places it.
"""

from chorale.cluster.base import ClusterError

MEMORY_MARGIN = 1.25
"""Reserved bytes per expected byte: the memory that a process reserves varies a little between
runs, and some is lost to fragmentation."""

CUDA_CONTEXT_BYTES = 600 * 2**20
"""GPU memory of a process without any tensor: CUDA context, kernels, libraries' workspaces.
PyTorch's memory statistics do not include it."""

MAX_TRIALS_PER_GPU = 8
"""The maximum number of trials per GPU, however small: they share its processors, too."""


def gpu_share(peak_bytes: int | None, gpu_bytes: int | None) -> float:
    """The share of a GPU for a trial: 1, 1/2, 1/4 or 1/8.

    Powers of two, because any mixture of them fills a GPU without a remainder.

    Args:
        peak_bytes: the expected peak of its tensors; None if unknown.
        gpu_bytes: the memory of the smallest GPU that it may run on; None if unknown.

    Returns:
        The smallest share that has room for it, with a margin. 1 if something is unknown, or if not
        even a whole GPU has room: the trial may then run with smaller batches.
    """
    if peak_bytes is None or gpu_bytes is None:
        return 1.0
    if peak_bytes < 0 or gpu_bytes <= 0:
        raise ClusterError(f"memory cannot be negative, but got {peak_bytes=} and {gpu_bytes=}")
    reserved_bytes = MEMORY_MARGIN * peak_bytes + CUDA_CONTEXT_BYTES
    n = 1
    while 2 * n <= MAX_TRIALS_PER_GPU and 2 * n * reserved_bytes <= gpu_bytes:
        n *= 2
    return 1 / n
