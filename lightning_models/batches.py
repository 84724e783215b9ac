"""A fold in, batches out: random crops to train on, evenly spaced windows to judge by.

Frames stay in memory (or on the GPU) and a batch is gathered from them in one indexing call:
for data of this size DataLoader workers would cost two to three times as much.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_models.datamodule import FoldData, Rows, Tracks

NEGLIGIBLE = 0.05
"""The share of a window that may stay unjudged rather than cost a track one window more: a clip
twice as long as a window has a frame or two more than two windows."""


class CropSource:
    """Gathers crops of equal length from ragged frames."""

    def __init__(
        self, data: Tracks, *, n_frames: int, pad: Tensor, center: bool, device: torch.device
    ) -> None:
        """Where crops come from and what they are like.

        Args:
            data: the tracks.
            n_frames: of a crop.
            pad: (n_channels * n_bins,), the frame that stands before a track's first and after
                its last.
            center: whether each track's own mean is taken off.
            device: where crops are wanted.
        """
        self.n_frames = n_frames
        self.device = device
        self._frames = data.frames_for(device)
        self._home = self._frames.device
        self._begins = torch.from_numpy(np.array(data.store.offsets[:-1], dtype=np.int64))
        self._lengths = torch.from_numpy(data.lengths)
        self._steps = torch.arange(n_frames, device=self._home)
        self._pad = pad.to(self._home)
        self._n_channels = data.store.n_channels
        self._means = data.track_means if center else None

    def gather(self, rows: Tensor, starts: Tensor) -> Tensor:
        """One crop for each of `rows`, from frame `starts` (may be negative) of its track on.

        Args:
            rows: (batch,) int64.
            starts: (batch,) int64.

        Returns:
            (batch, n_channels, n_bins, n_frames): a view, in memory frame lies after frame.
        """
        lengths = self._lengths[rows]
        padded = bool(((starts < 0) | (starts + self.n_frames > lengths)).any())
        begin = self._begins[rows].to(self._home).unsqueeze(1)
        place = starts.to(self._home).unsqueeze(1) + self._steps  # (batch, n_frames), in the track
        if padded:
            length = lengths.to(self._home).unsqueeze(1)
            inside = (place >= 0) & (place < length)
            place = torch.minimum(place.clamp(min=0), length - 1)
        x = self._frames.index_select(0, (begin + place).flatten()).view(*place.shape, -1)
        if self._means is not None:
            x -= self._means[rows].to(self._home).unsqueeze(1)
        if padded:
            x = torch.where(inside.unsqueeze(2), x, self._pad)
        x = x.view(*place.shape, self._n_channels, -1)  # (batch, n_frames, n_channels, n_bins)
        return x.to(self.device).permute(0, 2, 3, 1)


class TrainBatches:
    """One epoch of shuffled random crops each time that it is iterated: pairs (x, labels).

    Epoch `e` depends on the seed and `e` alone, so that a resumed training sees what an
    uninterrupted one sees. All batches have one size; what does not fill half a batch waits for
    another epoch, what more than half fills one is filled up.
    """

    def __init__(
        self,
        data: FoldData,
        *,
        n_frames: int,
        batch_size: int,
        seed: int,
        crops_per_track: int = 1,
        center: bool = False,
        device: torch.device | None = None,
    ) -> None:
        """Batches of at most `batch_size` crops of `n_frames` frames (see `CropSource`)."""
        device = device or torch.device("cpu")
        mean, _ = data.statistics(center=center)  # which standardising turns into zeros
        self.source = CropSource(data, n_frames=n_frames, pad=mean, center=center, device=device)
        self.seed = seed
        self.epoch = 0
        self._rows = np.asarray(data.train_rows, dtype=np.int64)
        self._lengths = data.lengths
        self._labels = np.asarray(data.labels, dtype=np.int64)
        n_crops = len(self._rows) * crops_per_track
        self.batch_size = max(2, min(batch_size, n_crops))  # batch norm needs two
        self.n_batches = max(1, round(n_crops / self.batch_size))

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        self.epoch += 1
        n_drawn = self.n_batches * self.batch_size
        n_shuffles = -(-n_drawn // len(self._rows))
        rows = np.concatenate([rng.permutation(self._rows) for _ in range(n_shuffles)])[:n_drawn]
        slack = self._lengths[rows] - self.source.n_frames  # negative: a track shorter than a crop
        starts = np.minimum(slack, 0) + rng.integers(np.abs(slack) + 1)
        labels = torch.from_numpy(self._labels[rows]).to(self.source.device)
        for i in range(0, n_drawn, self.batch_size):
            part = slice(i, i + self.batch_size)
            x = self.source.gather(torch.from_numpy(rows[part]), torch.from_numpy(starts[part]))
            yield x, labels[part]


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
