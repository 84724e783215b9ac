import pytest

from chorale.cluster.base import ClusterError
from chorale.cluster.packing import CUDA_CONTEXT_BYTES, MAX_TRIALS_PER_GPU, MEMORY_MARGIN, gpu_share

GIB = 2**30


@pytest.mark.parametrize(
    ("need_gib", "gpu_gib", "share"),
    [
        (None, 24, 1.0),
        (1, None, 1.0),
        (0, 24, 1 / 8),
        (2, 24, 1 / 4),
        (4, 24, 1 / 4),
        (4.5, 24, 1 / 2),
        (8, 24, 1 / 2),
        (12, 24, 1.0),
        (30, 24, 1.0),
        (1, 80, 1 / 8),
    ],
)
def test_gpu_share_is_the_smallest_with_enough_memory(
    need_gib: float | None, gpu_gib: float | None, share: float
) -> None:
    need = None if need_gib is None else int(need_gib * GIB)
    gpu = None if gpu_gib is None else int(gpu_gib * GIB)
    assert gpu_share(need, gpu) == share


@pytest.mark.parametrize("need_gib", [0.1, 0.7, 1.3, 3.0, 7.9])
def test_trials_that_share_a_gpu_fit_on_it_with_their_margins(need_gib: float) -> None:
    gpu, need = 16 * GIB, int(need_gib * GIB)
    n = round(1 / gpu_share(need, gpu))
    assert n == 1 or n * (MEMORY_MARGIN * need + CUDA_CONTEXT_BYTES) <= gpu
    assert 2 * n > MAX_TRIALS_PER_GPU or 2 * n * (MEMORY_MARGIN * need + CUDA_CONTEXT_BYTES) > gpu


def test_gpu_shares_are_powers_of_two_so_that_any_mixture_fills_a_gpu() -> None:
    """What the larger shares leave free is a multiple of the next smaller one."""
    shares = sorted({gpu_share(n * GIB // 4, 16 * GIB) for n in range(64)}, reverse=True)
    assert shares == [1.0, 0.5, 0.25, 0.125]
    assert all(larger % smaller == 0 for larger in shares for smaller in shares if smaller < larger)


@pytest.mark.parametrize(("need", "gpu"), [(-1, 10), (1, 0)])
def test_impossible_memory_sizes_are_refused(need: int, gpu: int) -> None:
    with pytest.raises(ClusterError, match=f"peak_bytes={need} and gpu_bytes={gpu}"):
        gpu_share(need, gpu)
