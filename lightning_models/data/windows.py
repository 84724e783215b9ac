"""Where tracks are judged: evenly spaced windows, as many as it takes to see all of each.

`predict` looks at them, and training crops lie there too where a config says so.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chorale.lightning_models.data.datamodule import Rows

NEGLIGIBLE = 0.05
"""The share of a window that may stay unjudged rather than cost a track one window more: a clip
twice as long as a window has a frame or two more than two windows."""


@dataclass(frozen=True)
class Windows:
    """What is looked at to evaluate tracks: windows (n_windows_in_all,) and the track of each.

    `track` counts within the rows asked for, not within the store.
    """

    row: Tensor
    start: Tensor
    track: Tensor


def windows(lengths: NDArray[np.int64], rows: Rows, *, n_frames: int, n_windows: int) -> Windows:
    """Evenly spaced windows that cover each track from its first frame to its last.

    A track gets as many as it takes to leave no gap worth the name, at most `n_windows`; one
    shorter than a window stands in the middle of it.

    Args:
        lengths: (n_tracks,), in frames.
        rows: which tracks.
        n_frames: of one window.
        n_windows: the most windows for one track.
    """
    slack = lengths[rows] - n_frames
    wanted = np.ceil(lengths[rows] / n_frames - NEGLIGIBLE).astype(np.int64)
    counts = np.clip(wanted, 1, n_windows)
    track = np.repeat(np.arange(len(rows)), counts)
    nth = np.arange(len(track)) - np.repeat(np.cumsum(counts) - counts, counts)
    last = counts[track] - 1
    spread = np.where(last > 0, nth / np.maximum(last, 1), 0.5)
    start = np.floor(slack[track] * spread).astype(np.int64)
    row = np.asarray(rows, dtype=np.int64)[track]
    return Windows(torch.from_numpy(row), torch.from_numpy(start), torch.from_numpy(track))
