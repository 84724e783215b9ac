"""Evaluation windows: evenly spaced windows that cover each track.

`training.predict` averages over them; training crops are taken there, too, if `random_crop` is off.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chorale.lightning_models.data.datamodule import RowIndices

NEGLIGIBLE_SHARE = 0.05
"""The share of a window that may stay uncovered rather than add a window: a clip twice as long as a
window often has a frame or two more than two windows."""


@dataclass(frozen=True)
class EvaluationWindows:
    """Evaluation windows: store row, first frame and track of each, all (total_windows,).

    `track` is an index into the given rows, not into the store.
    """

    row: Tensor
    start: Tensor
    track: Tensor


def evaluation_windows(
    lengths: NDArray[np.int64], rows: RowIndices, *, n_frames: int, n_windows: int
) -> EvaluationWindows:
    """Evenly spaced windows that cover each track from its first frame to its last.

    A track gets as few as cover it except for `NEGLIGIBLE_SHARE` of a window, at most `n_windows`;
    a track shorter than a window is centred in it.

    Args:
        lengths: (n_tracks,), in frames.
        rows: the tracks.
        n_frames: of one window.
        n_windows: the maximum number of windows per track.
    """
    slack = lengths[rows] - n_frames
    wanted = np.ceil(lengths[rows] / n_frames - NEGLIGIBLE_SHARE).astype(np.int64)
    counts = np.clip(wanted, 1, n_windows)
    track = np.repeat(np.arange(len(rows)), counts)
    nth = np.arange(len(track)) - np.repeat(np.cumsum(counts) - counts, counts)
    last = counts[track] - 1
    spread = np.where(last > 0, nth / np.maximum(last, 1), 0.5)
    start = np.floor(slack[track] * spread).astype(np.int64)
    row = np.asarray(rows, dtype=np.int64)[track]
    return EvaluationWindows(
        torch.from_numpy(row), torch.from_numpy(start), torch.from_numpy(track)
    )
