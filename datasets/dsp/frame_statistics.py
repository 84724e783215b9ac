"""Statistics of a track's frames over time: one row of fixed length, whatever the track's length.

`datasets.features.mfcc_statistics` is a table of them, and baselines read them of any feature set.
"""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

N_BLOCKS = 7
"""The blocks of statistics: means, standard deviations, both of differences, means of thirds."""


def frame_statistics(frames: NDArray[Any], n_blocks: int = N_BLOCKS) -> NDArray[np.float64]:
    """The first blocks of a track's statistics, each with a value for every bin.

    For each bin the mean and the standard deviation over time, then both of the differences between
    successive frames (0 for a track of one frame), then the means of the track's three thirds.

    Args:
        frames: (n_frames, n_bins), at least one frame.
        n_blocks: 2, 4 or 7.

    Returns:
        float64 (n_blocks, n_bins).

    Source: after Tzanetakis and Cook 2002, "Musical Genre Classification of Audio Signals",
    doi:10.1109/TSA.2002.800560.
    """
    frames = frames.astype(np.float64, copy=False)
    found = np.zeros((n_blocks, frames.shape[1]))
    found[:2] = frames.mean(axis=0), frames.std(axis=0)
    if n_blocks > 2 and len(frames) > 1:
        steps = np.diff(frames, axis=0)
        found[2:4] = steps.mean(axis=0), steps.std(axis=0)
    if n_blocks > 4:  # a track of fewer than three frames repeats them
        edges = np.linspace(0, len(frames), 4).astype(int)
        found[4:] = [frames[a : max(b, a + 1)].mean(axis=0) for a, b in pairwise(edges)]
    return found
