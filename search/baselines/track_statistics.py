"""Track statistics: summarizes a track's frames as one fixed-length row for classical classifiers.

`search.baselines.baselines` trains on these rows, `search.evaluation.protocols` shows leaks with
them, and a bundle that holds a baseline computes them for new recordings.
"""

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

from chorale.datasets.chunks import ChunkMap, in_chunks
from chorale.datasets.dsp.frame_statistics import frame_statistics
from chorale.datasets.features import layout_of
from chorale.datasets.store.feature_store import FeatureStore

BLOCKS = {"mean_std": 2, "differences": 4, "thirds": 7}
"""Name of a set of statistics -> the number of blocks that it reads, `n_values` columns each."""
TABLE = "table"
"""The only set for a table of features, whose columns are statistics already: all columns."""
POOLED = {"mean": slice(1, 2), "mean_max": slice(0, 2), "mean_std": slice(1, 3)}
"""Name of a set of statistics of an embedding -> which it reads of the blocks maximum, mean and
standard deviation over time. The axes of an embedding are in no order, and its frames are few, each
of seconds: all statistics of an encoder of width 768 would be 5,376 columns.

Source: the mean as in Turian et al. 2022, "HEAR: Holistic Evaluation of Audio Representations",
https://arxiv.org/abs/2203.03022; with the maximum as in Howard and Ruder 2018, "Universal Language
Model Fine-tuning for Text Classification", https://arxiv.org/abs/1801.06146 (concat pooling)."""

MAX_BINS = 40
N_CEPSTRA = 20
"""Spectra wider than `MAX_BINS` are read as `N_CEPSTRA` cepstral coefficients: neighbouring bands
are redundant, and hundreds of columns cost minutes."""

IN_PROCESS_VALUES = 50_000_000
"""Fewer values of frames are read within seconds, which is faster than starting processes."""


@dataclass(frozen=True)
class StatisticsLayout:
    """The layout of a track's row of statistics, given its feature set's frames.

    A frame has `n_bins` values, of all `n_channels` channels together. `is_table`: frames are in no
    order, and the row is their mean. `is_spectral`: the bins are a frequency axis. `is_embedding`:
    frames are of a frozen encoder or of its frozen part, and the statistics are pooled vectors;
    `has_one_frame`: one of each track, so that all pooled vectors would be the same.
    """

    n_bins: int
    n_channels: int = 1
    is_table: bool = False
    is_spectral: bool = False
    is_embedding: bool = False
    has_one_frame: bool = False

    @classmethod
    def of(cls, store: FeatureStore) -> "StatisticsLayout":
        """The layout for the features in a store."""
        is_table = not store.frame_rate_hz
        is_embedding = not is_table and layout_of(store.feature) in ("embedding", "block_input")
        return cls(
            store.n_bins,
            store.n_channels,
            is_table=is_table,
            is_spectral=store.is_spectral,
            is_embedding=is_embedding,
            has_one_frame=is_embedding and bool((store.lengths == 1).all()),
        )

    @property
    def is_cepstral(self) -> bool:
        """Whether frames are reduced to their first cepstral coefficients."""
        return self.is_spectral and self.n_bins > self.n_channels * MAX_BINS

    @property
    def n_values(self) -> int:
        """The number of columns of a block."""
        return self.n_channels * N_CEPSTRA if self.is_cepstral else self.n_bins

    @property
    def choices(self) -> tuple[str, ...]:
        """The sets of statistics that a classifier may read; for other wide frames only one."""
        if self.is_table:
            return (TABLE,)
        if self.is_embedding:
            return ("mean",) if self.has_one_frame else tuple(POOLED)
        is_wide = self.n_values > self.n_channels * MAX_BINS
        return ("mean_std",) if is_wide else tuple(BLOCKS)

    def columns(self, statistics: str) -> slice:
        """Which of the row's columns one of `choices` reads."""
        if self.is_embedding:
            blocks = POOLED[statistics]
            first = 0 if self.has_one_frame else blocks.start
            n = blocks.stop - blocks.start
            return slice(first * self.n_values, (first + n) * self.n_values)
        return slice(0, self.n_bins if statistics == TABLE else BLOCKS[statistics] * self.n_values)

    def n_columns(self, statistics: str) -> int:
        """How many of the row's columns one of `choices` reads."""
        columns = self.columns(statistics)
        return int(columns.stop - columns.start)

    def row(self, frames: NDArray[Any]) -> NDArray[np.float32]:
        """The statistics of one track, all that one of `choices` reads: float32 (n_columns,).

        See `datasets.dsp.frame_statistics.frame_statistics`; the row of a table is the mean of its
        frames, that of an embedding their maximum, mean and standard deviation (see `POOLED`).

        Args:
            frames: (n_frames, n_bins), at least one frame.
        """
        frames = frames.astype(np.float64)
        if self.is_table:
            return np.asarray(frames.mean(axis=0), np.float32)
        if self.is_embedding:
            return self._pooled(frames)
        if self.is_cepstral:
            frames = self._cepstra(frames)
        found = frame_statistics(frames, BLOCKS[self.choices[-1]])
        return found.reshape(-1).astype(np.float32)

    def _pooled(self, frames: NDArray[np.float64]) -> NDArray[np.float32]:
        """(3 * n_values,) as `POOLED` describes, or (n_values,) where tracks have one frame."""
        mean_std = frame_statistics(frames, 2)
        if self.has_one_frame:  # of a longer recording than any in training: the mean of several
            return np.asarray(mean_std[0], np.float32)
        found = np.concatenate([frames.max(axis=0, keepdims=True), mean_std])
        return np.asarray(found.reshape(-1), np.float32)

    def _cepstra(self, frames: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n_frames, n_values): each channel's first coefficients."""
        channels = frames.reshape(len(frames), self.n_channels, -1)
        found = dct(channels, norm="ortho", axis=2)[:, :, :N_CEPSTRA]
        return np.asarray(found.reshape(len(frames), -1))

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; facts of embeddings are left out where they do not hold."""
        only_if = ("is_embedding", "has_one_frame")
        return {key: value for key, value in asdict(self).items() if value or key not in only_if}


def track_statistics(
    store: FeatureStore, rows: NDArray[np.int64], *, run: ChunkMap = map
) -> NDArray[np.float32]:
    """A row of statistics for each track: float32 (n, n_columns), see `StatisticsLayout.row`.

    Args:
        store: cached features.
        rows: the store's rows, in the order of the result.
        run: the map over chunks of tracks; small stores are read in this process instead.
    """
    if int(store.lengths[rows].sum()) * store.n_bins < IN_PROCESS_VALUES:
        run = map
    chunks = [np.asarray(chunk) for chunk in in_chunks(rows.tolist())]
    found = list(run(partial(_chunk_statistics, store, StatisticsLayout.of(store)), chunks))
    return np.concatenate(found)


def _chunk_statistics(
    store: FeatureStore, layout: StatisticsLayout, rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    begin, end = store.offsets[rows], store.offsets[rows + 1]
    each = (store.frames[a:b] for a, b in zip(begin, end, strict=True))
    return np.stack([layout.row(frames) for frames in each])
