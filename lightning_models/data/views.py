"""Augmented views of training tracks: frames of other stores, as further rows of the same tracks.

An encoder's input can only be augmented before the encoder runs, so that `datasets.store.views` has
cached the frames of each view. `FoldData` names the views, `examples` draws one of them.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chorale.lightning_models.data.datamodule import FoldData, RowIndices, Tracks


@dataclass(frozen=True, eq=False)
class ViewedTracks(Tracks):
    """The tracks of a fold, then the same tracks again in each of its views.

    Row `v * n_tracks + i` is view `v` of track `i`, and view 0 is the fold's store itself. A track
    that a view lacks, as one of the test set, has no frames there. What is on a GPU stays with the
    fold and its views, for the next training.
    """

    fold: FoldData

    @classmethod
    def of(cls, fold: FoldData) -> "ViewedTracks":
        """The tracks of a fold with all of its views."""
        return cls(fold.store, fold)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """(n_views * n_tracks,), in frames; 0 where a view lacks the track."""
        others = (one.lengths_of_tracks for one in self.fold.views)
        return np.concatenate([self.fold.lengths, *others])

    @cached_property
    def begins(self) -> NDArray[np.int64]:
        """(n_views * n_tracks,): the first frame of each row among those of all stores."""
        first = np.cumsum([len(one.store.frames) for one in (self.fold, *self.fold.views)])
        parts = [
            at + one.begins[np.maximum(one.rows, 0)]
            for at, one in zip(first[:-1], self.fold.views, strict=True)
        ]
        return np.concatenate([self.fold.begins, *parts])

    @cached_property
    def track_means(self) -> Tensor:
        """The mean of each bin of each row: (n_views * n_tracks, n_bins); 0 without frames."""
        parts = [self.fold.track_means]
        for one in self.fold.views:
            means = one.track_means[torch.from_numpy(np.maximum(one.rows, 0))]
            parts.append(means * torch.from_numpy(one.rows >= 0).to(means.dtype)[:, None])
        return torch.cat(parts)

    def frame_parts(self, device: torch.device) -> tuple[Tensor, ...]:
        """The frames of each store, each on the GPU if it fits."""
        return tuple(one.frames_for(device) for one in (self.fold, *self.fold.views))


def rows_of_all_views(rows: RowIndices, *, n_tracks: int, n_views: int) -> RowIndices:
    """The rows of every view of some tracks, (n_views * len(rows),): view by view."""
    firsts = np.arange(n_views, dtype=np.int64)[:, None] * n_tracks
    return np.asarray((firsts + rows).ravel(), dtype=np.int64)
