"""What describes a track regardless of its length: a row of numbers for classical classifiers.

`search.baselines.baselines` learns from it, `search.evaluation.protocols` shows leaks with it, and
a bundle that holds a baseline describes new recordings by it.
"""

from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

from chorale.datasets.chunks import ChunkMap, in_chunks
from chorale.datasets.store.feature_store import FeatureStore

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

BLOCKS = {"mean_std": 2, "differences": 4, "thirds": 7}
"""How many of the blocks of statistics a classifier reads, `n_values` columns each."""
TABLE = "table"
"""What it reads of a table, whose columns are statistics already: all of them."""

MAX_BINS = 40
N_CEPSTRA = 20
"""Spectra wider than `MAX_BINS` are read as that many cepstral coefficients: neighbouring bands say
the same, and hundreds of columns cost minutes."""

SMALL_VALUES = 50_000_000
"""So many values of frames are read within seconds, sooner than other processes are ready."""


@dataclass(frozen=True)
class Description:
    """How the frames of a feature set become one row.

    `n_bins` values of `n_channels` channels a frame. `is_table`: frames follow one another in no
    order, and a track is their mean. `is_spectral`: bins lie along a frequency axis.
    """

    n_bins: int
    n_channels: int = 1
    is_table: bool = False
    is_spectral: bool = False

    @classmethod
    def of(cls, store: FeatureStore) -> "Description":
        """For the features in a store."""
        return cls(
            store.n_bins,
            store.n_channels,
            is_table=not store.frame_rate_hz,
            is_spectral=store.is_spectral,
        )

    @property
    def is_cepstral(self) -> bool:
        """Whether frames are read by their first cepstral coefficients."""
        return self.is_spectral and self.n_bins > self.n_channels * MAX_BINS

    @property
    def n_values(self) -> int:
        """Columns of a block."""
        return self.n_channels * N_CEPSTRA if self.is_cepstral else self.n_bins

    @property
    def choices(self) -> tuple[str, ...]:
        """Which statistics a classifier may choose from; of a wide embedding only the first.

        Its axes are in no order, so nothing shortens them: an encoder of 768 would give 5,376
        columns.
        """
        if self.is_table:
            return (TABLE,)
        is_wide = self.n_values > self.n_channels * MAX_BINS
        return ("mean_std",) if is_wide else tuple(BLOCKS)

    def n_columns(self, statistics: str) -> int:
        """How many of the row's first columns belong to one of `choices`."""
        return self.n_bins if statistics == TABLE else BLOCKS[statistics] * self.n_values

    def row(self, frames: NDArray[Any]) -> Floats:
        """The statistics of one track: float32 (n_columns of the last of `choices`,).

        For each bin the mean and the standard deviation over time, then both of the difference
        from one frame to the next (0 for a track of one frame), then the means of the track's three
        thirds.

        Args:
            frames: (n_frames, n_bins), at least one frame.

        Source: after Tzanetakis and Cook 2002, "Musical Genre Classification of Audio Signals",
        doi:10.1109/TSA.2002.800560.
        """
        frames = frames.astype(np.float64)
        if self.is_table:
            return np.asarray(frames.mean(axis=0), np.float32)
        if self.is_cepstral:
            frames = self._cepstra(frames)
        found = np.zeros((BLOCKS[self.choices[-1]], self.n_values))
        found[:2] = frames.mean(axis=0), frames.std(axis=0)
        if len(found) > 2 and len(frames) > 1:
            steps = np.diff(frames, axis=0)
            found[2:4] = steps.mean(axis=0), steps.std(axis=0)
        if len(found) > 4:  # a track of fewer than three frames repeats them
            edges = np.linspace(0, len(frames), 4).astype(int)
            found[4:] = [frames[a : max(b, a + 1)].mean(axis=0) for a, b in pairwise(edges)]
        return found.reshape(-1).astype(np.float32)

    def _cepstra(self, frames: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n_frames, n_values): each channel's first coefficients."""
        channels = frames.reshape(len(frames), self.n_channels, -1)
        found = dct(channels, norm="ortho", axis=2)[:, :, :N_CEPSTRA]
        return np.asarray(found.reshape(len(frames), -1))

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def statistics(store: FeatureStore, rows: Ints, *, run: ChunkMap = map) -> Floats:
    """A row for each track: float32 (n, n_columns), see `Description.row`.

    Args:
        store: cached features.
        rows: which tracks, in the order wanted.
        run: the map that does it, but what is soon done is done in this process.
    """
    if int(store.lengths[rows].sum()) * store.n_bins < SMALL_VALUES:
        run = map
    chunks = [np.asarray(chunk) for chunk in in_chunks(rows.tolist())]
    found = list(run(partial(_of_chunk, store, Description.of(store)), chunks))
    return np.concatenate(found)


def _of_chunk(store: FeatureStore, description: Description, rows: Ints) -> Floats:
    begin, end = store.offsets[rows], store.offsets[rows + 1]
    each = (store.frames[a:b] for a, b in zip(begin, end, strict=True))
    return np.stack([description.row(frames) for frames in each])
