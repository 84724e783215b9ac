"""Augmented views of training tracks: frames of other stores, as further rows of the same tracks.

An encoder's input can only be augmented before the encoder runs, so that `datasets.store.views` has
cached the frames of each view. `FoldData` names the views, `examples` draws one of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chorale.lightning_models.data.datamodule import (
    FrameStore,
    RowIndices,
    Tracks,
    View,
    segment_means,
)


@dataclass(frozen=True, eq=False)
class ViewedTracks(Tracks):
    """The rows of `store`, then the same tracks again in each of `others`.

    Row `v * n_tracks + i` is view `v` of track `i`, and view 0 is `store` itself. A track that a
    view lacks, as one of the test set, has no frames there.
    """

    others: tuple[View, ...] = ()

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """(n_views * n_tracks,), in frames; 0 where a view lacks the track."""
        return np.concatenate([np.diff(self.store.offsets), *(one.lengths for one in self.others)])

    @cached_property
    def begins(self) -> NDArray[np.int64]:
        """(n_views * n_tracks,): the first frame of each row among those of all stores."""
        first = np.cumsum([len(one.frames) for one in self._stores])
        parts = [
            at + one.store.offsets[np.maximum(one.rows, 0)]
            for at, one in zip(first[:-1], self.others, strict=True)
        ]
        return np.concatenate([self.store.offsets[:-1], *parts])

    @cached_property
    def track_means(self) -> Tensor:
        """The mean of each bin of each row: (n_views * n_tracks, n_bins); 0 without frames."""
        parts = [torch.from_numpy(segment_means(self.store))]
        for one in self.others:
            means = segment_means(one.store)[np.maximum(one.rows, 0)]
            parts.append(torch.from_numpy(means * (one.rows >= 0)[:, None].astype(np.float32)))
        return torch.cat(parts)

    def frame_parts(self, device: torch.device) -> tuple[Tensor, ...]:
        """The frames of each store, each on the GPU if it fits."""
        views = (Tracks(one.store).frames_for(device) for one in self.others)
        return (self.frames_for(device), *views)

    @property
    def _stores(self) -> Sequence[FrameStore]:
        return (self.store, *(one.store for one in self.others))


def rows_of_all_views(rows: RowIndices, *, n_tracks: int, n_views: int) -> RowIndices:
    """The rows of every view of some tracks, (n_views * len(rows),): view by view."""
    firsts = np.arange(n_views, dtype=np.int64)[:, None] * n_tracks
    return np.asarray((firsts + rows).ravel(), dtype=np.int64)
