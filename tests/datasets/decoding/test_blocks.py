import tracemalloc

import numpy as np
import pytest

from chorale.datasets.decoding.blocks import GrowingWaveform

BLOCK = 50_000


def _filled(expected: int, n_blocks: int) -> np.ndarray:
    waveform = GrowingWaveform(expected)
    for number in range(n_blocks):
        waveform.added(BLOCK)[:] = number
    return waveform.samples()


@pytest.mark.parametrize("expected", [0, 1, 3 * BLOCK, 60 * BLOCK, 100 * BLOCK])
def test_it_holds_what_was_added_whatever_was_expected(expected: int) -> None:
    found = _filled(expected, 60)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.repeat(np.arange(60), BLOCK))


def test_nothing_added_is_an_empty_waveform() -> None:
    assert _filled(0, 0).shape == (0,)


def test_a_waveform_of_unknown_length_takes_little_more_than_its_own_memory() -> None:
    tracemalloc.start()
    try:
        found = _filled(0, 600)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # tracemalloc counts the whole result once it is reserved, of which no page is in use yet
    assert peak - found.nbytes <= 1.1 * found.nbytes
