"""The data of one fold: training and validation tracks, labels, normalization statistics.

It is made from the feature cache and a split; `batches` cuts it into crops.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chorale.datasets.dsp.frequency_scale import FrequencyScale
from chorale.datasets.errors import UserError
from chorale.datasets.label_sets import UNKNOWN, LabelArray, is_known
from chorale.datasets.seeds import Purpose, random_generator
from chorale.datasets.splitting import balance
from chorale.lightning_models.base import InputShape

RowIndices = NDArray[np.int64]
Statistics = tuple[Tensor, Tensor]

STATISTICS_FRAMES = 250_000
"""About how many frames mean and standard deviation are computed from; more change nothing."""

TARGET_TOLERANCE = 1e-3
"""The largest deviation of a soft target's sum from 1."""

GPU_SHARE = 0.5
"""The share of a GPU's free memory that frames may fill before they stay in main memory."""


class FrameStore(Protocol):
    """The concatenated frames of all tracks, as a feature store provides them."""

    @property
    def frames(self) -> NDArray[np.float32]:
        """(total_frames, n_bins)."""
        ...

    @property
    def offsets(self) -> NDArray[np.int64]:
        """(n_tracks + 1,): track `i` is `frames[offsets[i]:offsets[i + 1]]`."""
        ...

    @property
    def frame_rate_hz(self) -> float:
        """Frames per second; 0 where frames have no order in time, as a table's rows."""
        ...

    @property
    def n_bins(self) -> int:
        """Values per frame, of all channels: those of the first, then those of the second, ..."""
        ...

    @property
    def n_channels(self) -> int:
        """The number of channels that a frame's values consist of; spectrograms have one."""
        ...

    @property
    def scale(self) -> FrequencyScale | None:
        """The frequency scale of the values, if they are levels of bands or derived from such."""
        ...


@dataclass(frozen=True, eq=False)
class MemoryFrames:
    """Frames in memory instead of a store: for inference, synthetic rows and tests."""

    frames: NDArray[np.float32]
    offsets: NDArray[np.int64]
    frame_rate_hz: float
    n_channels: int = 1
    scale: FrequencyScale | None = None

    @classmethod
    def of(
        cls,
        tracks: Sequence[NDArray[np.float32]],
        *,
        frame_rate_hz: float,
        n_channels: int = 1,
        scale: FrequencyScale | None = None,
    ) -> "MemoryFrames":
        """Joins the features of tracks as feature sets return them: (n_bins, n_frames) each."""
        offsets = np.cumsum([0, *(track.shape[1] for track in tracks)], dtype=np.int64)
        frames = np.ascontiguousarray(np.concatenate(tracks, axis=1).T, dtype=np.float32)
        return cls(frames, offsets, frame_rate_hz, n_channels, scale)

    @property
    def n_bins(self) -> int:
        """Values per frame."""
        return int(self.frames.shape[1])


@dataclass(frozen=True, eq=False)
class Tracks:
    """The tracks of a store, ready to be cut into crops; inference needs no more."""

    store: FrameStore
    _resident: dict[torch.device, Tensor] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """(n_tracks,), in frames."""
        return self.store.offsets[1:] - self.store.offsets[:-1]

    @cached_property
    def begins(self) -> NDArray[np.int64]:
        """(n_tracks,): the first frame of each track."""
        return np.array(self.store.offsets[:-1], dtype=np.int64)

    @property
    def is_table(self) -> bool:
        """Whether frames are rows of a table, each of which describes its whole track."""
        return self.store.frame_rate_hz == 0

    @cached_property
    def track_means(self) -> Tensor:
        """The mean of each bin of each track: (n_tracks, n_bins)."""
        sums = np.add.reduceat(self.store.frames, self.store.offsets[:-1], axis=0)
        return torch.from_numpy(sums / self.lengths[:, None].astype(np.float32))

    def frames_for(self, device: torch.device) -> Tensor:
        """All frames (total_frames, n_bins): on the GPU if they fit, otherwise not copied."""
        if device not in self._resident:
            self._resident[device] = _as_tensor(self.store.frames, device)
        return self._resident[device]

    def frame_parts(self, device: torch.device) -> tuple[Tensor, ...]:
        """All frames as `begins` numbers them, in one tensor or in several one after another."""
        return (self.frames_for(device),)


@dataclass(frozen=True, eq=False)
class View(Tracks):
    """An augmented view of tracks (see `datasets.store.views`), with frames of its own.

    `rows` (n_tracks,) maps a track's row in the fold's store to its row in `store`: -1 where the
    view lacks it.
    """

    rows: RowIndices

    @property
    def lengths_of_tracks(self) -> NDArray[np.int64]:
        """(n_tracks,), in frames; 0 where the view lacks the track."""
        lengths = self.lengths[np.maximum(self.rows, 0)]
        return np.asarray(np.where(self.rows < 0, 0, lengths))


@dataclass(frozen=True, eq=False)
class FoldData(Tracks):
    """One fold of one dataset.

    `train_rows` and `valid_rows` are rows of `store` (track indices), `labels` (n_tracks,) the
    class index of every track of the store, or (n_tracks, n_classes) its labels as 0, 1 and
    `UNKNOWN`, which are neither trained on nor validated. Rows in neither, as of the test set, are
    never read.

    `targets` (n_tracks, n_classes), if given, are soft targets for training, as of a teacher in
    distillation: class probabilities that sum to 1, except where multi-label. Only those of
    training rows are read; validation, class balancing and class weights use `labels`.

    `views` are augmented views of the tracks. Only those of training rows are read, and only with
    `TrainConfig.views`; all else, such as validation and `statistics`, reads the store alone.
    """

    train_rows: RowIndices
    valid_rows: RowIndices
    labels: LabelArray
    n_classes: int
    targets: NDArray[np.float32] | None = None
    views: tuple[View, ...] = ()
    _statistics: dict[bool, Statistics] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for kind, rows in (("training", self.train_rows), ("validation", self.valid_rows)):
            if not len(rows):
                raise UserError(f"a fold has no {kind} tracks; give more tracks or fewer folds")
        used = self.labels[np.concatenate([self.train_rows, self.valid_rows])]
        if self.multi_label:
            self._check_indicators(used)
        elif used.min() < 0 or used.max() >= self.n_classes:
            raise UserError(
                f"labels must be in 0..{self.n_classes - 1} for n_classes={self.n_classes}, "
                f"but got {used.min()}..{used.max()}; make the class list and the labels from the "
                f"same track table"
            )
        if self.targets is not None:
            self._check_targets(self.targets)
        for view in self.views:
            if not (view.lengths_of_tracks[self.train_rows] > 0).all():
                raise ValueError("an augmented view lacks training tracks; build its store again")

    @property
    def multi_label(self) -> bool:
        """Whether a track may have several labels."""
        return self.labels.ndim == 2

    @cached_property
    def has_unknown(self) -> bool:
        """Whether it is not known of a training row whether it has some label."""
        return self.multi_label and not bool(is_known(self.labels[self.train_rows]).all())

    def _check_indicators(self, used: LabelArray) -> None:
        if used.shape[1] != self.n_classes or used.max() > 1 or used.min() < UNKNOWN:
            raise UserError(
                f"labels of several classes must be 0 or 1 for each of n_classes={self.n_classes}, "
                f"but got {used.shape[1]} columns of {used.min()} to {used.max()}; make the class "
                f"list and the labels from the same track table"
            )

    def _check_targets(self, targets: NDArray[np.float32]) -> None:
        """Refuses targets of the training rows that are not class probabilities."""
        wanted = (len(self.labels), self.n_classes)
        if targets.shape != wanted:
            raise UserError(
                f"targets must have the shape (n_tracks, n_classes) = {wanted}, but got "
                f"{targets.shape}; make them from the same track table as the labels"
            )
        used = targets[self.train_rows]
        if self.multi_label:
            if not ((used >= 0) & (used <= 1)).all():
                raise UserError(
                    "targets of training tracks must be probabilities of their labels, 0 to 1, but "
                    "some are not; make them from a teacher's predictions for every training track"
                )
        elif not (np.abs(used.sum(axis=1) - 1) < TARGET_TOLERANCE).all() or (used < 0).any():
            raise UserError(
                "targets of training tracks must be class probabilities that sum to 1, but some "
                "are not; make them from a teacher's predictions for every training track"
            )

    def statistics(self, *, center: bool) -> Statistics:
        """Mean and standard deviation (n_bins,) of the frames of the training rows.

        Where there are many frames, a random sample of the tracks is used: rows are sorted by class
        and artist, so that every n-th of them might be of one class. A constant bin gets the
        standard deviation 1.

        Args:
            center: whether each track's mean is subtracted first.
        """
        if center not in self._statistics:
            self._statistics[center] = self._measure(center=center)
        return self._statistics[center]

    def class_weights(self) -> NDArray[np.float32]:
        """The weight of each class in the loss, (n_classes,), from the training rows.

        The mean over an epoch's examples is 1: over tracks, or over all rows of a table. Where
        multi-label it is the weight of a label's presence, relative to that of its absence.
        """
        labels = self.labels[self.train_rows]
        if self.is_table:
            labels = np.repeat(labels, self.lengths[self.train_rows], axis=0)
        if self.multi_label:
            return balance.presence_weights(labels)
        return balance.class_weights(labels, self.n_classes)

    def _measure(self, *, center: bool) -> Statistics:
        n_frames = int(self.lengths[self.train_rows].sum())
        every = max(1, n_frames // STATISTICS_FRAMES)
        begin, end = self.store.offsets[:-1], self.store.offsets[1:]
        total, squares, count = np.zeros(self.store.n_bins), np.zeros(self.store.n_bins), 0
        rows = np.sort(self.train_rows)
        if every > 1:
            n_drawn = -(-len(rows) // every)
            rows = np.sort(
                random_generator(0, Purpose.NORMALIZATION).choice(rows, n_drawn, replace=False)
            )
        for row in rows:
            track = self.store.frames[begin[row] : end[row]].astype(np.float64)
            if center:
                track -= track.mean(axis=0)
            total += track.sum(axis=0)
            squares += np.einsum("ij,ij->j", track, track)
            count += len(track)
        mean = total / count
        std = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
        std[std < 1e-6 * np.maximum(1.0, np.abs(mean))] = 1.0
        return torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(std.astype(np.float32))

    def input_shape(self, crop_s: float) -> InputShape:
        """The shape of a crop of `crop_s` seconds: no longer than the longest training track.

        Features without a time axis give one frame, whatever `crop_s` is.

        Raises:
            UserError: `crop_s` is shorter than one frame.
        """
        rate_hz = self.store.frame_rate_hz
        wanted = round(crop_s * rate_hz) if rate_hz else 1
        if wanted < 1:
            raise UserError(
                f"crop_s={crop_s} is shorter than one frame "
                f"({1 / rate_hz:.4f} s); give a longer train.crop_s"
            )
        n_channels = self.store.n_channels
        n_frames = int(min(wanted, self.lengths[self.train_rows].max()))
        return n_channels, self.store.n_bins // n_channels, n_frames


def _as_tensor(frames: NDArray[np.float32], device: torch.device) -> Tensor:
    with warnings.catch_warnings():
        # torch warns that the read-only memory map is not writable; nothing writes to it
        warnings.filterwarnings("ignore", message="The given (NumPy array|buffer) is not writable")
        shared = torch.from_numpy(np.asarray(frames))
    if device.type == "cuda" and frames.nbytes < GPU_SHARE * torch.cuda.mem_get_info(device)[0]:
        return shared.to(device)
    return shared
