"""What share of a GPU a trial takes, by the memory that it is expected to need.

`search.sweep.gpu_shares` knows what a trial needs; `cluster.tune.runner` places it.
"""

from chorale.cluster.base import ClusterError

MARGIN = 1.25
"""What is set aside for each byte that is expected: what a process reserves varies a little from
one run to the next, and pieces between what it uses are lost."""

CONTEXT_BYTES = 600 * 2**20
"""What a process takes of a GPU before it holds a single tensor: kernels, libraries' workspaces.
PyTorch does not count it."""

MOST_PER_GPU = 8
"""So many trials share a GPU at most, however small: they share its processors, too."""


def gpu_share(need_bytes: int | None, gpu_bytes: int | None) -> float:
    """The share of a GPU for a trial: 1, 1/2, 1/4 or 1/8.

    Powers of two, because any mixture of them fills a GPU up without a rest.

    Args:
        need_bytes: the most that it is expected to hold in tensors; None where nobody knows.
        gpu_bytes: the memory of the smallest GPU that it may come to; None where nobody knows.

    Returns:
        The smallest share that has room for it, with a margin; 1 where something is not known, or
        where not even a whole GPU has: it may be tried in smaller parts.
    """
    if need_bytes is None or gpu_bytes is None:
        return 1.0
    if need_bytes < 0 or gpu_bytes <= 0:
        raise ClusterError(f"memory cannot be negative, but got {need_bytes=} and {gpu_bytes=}")
    taken = MARGIN * need_bytes + CONTEXT_BYTES
    n = 1
    while 2 * n <= MOST_PER_GPU and 2 * n * taken <= gpu_bytes:
        n *= 2
    return 1 / n
