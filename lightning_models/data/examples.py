"""Sampling of training examples: tracks or table rows, class-balanced, with SMOTE rows.

`batches` cuts crops of the drawn examples. Only training rows are read.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.errors import UserError
from chorale.datasets.label_sets import LabelArray
from chorale.datasets.seeds import Purpose, derive_seed
from chorale.datasets.splitting.balance import balanced_order, multi_label_smote, smote
from chorale.lightning_models.data.datamodule import FoldData, MemoryFrames, RowIndices, Tracks
from chorale.lightning_models.data.views import ViewedTracks, rows_of_all_views
from chorale.lightning_models.data.windows import evaluation_windows
from chorale.lightning_models.train_config import TrainConfig

ExampleTargets: TypeAlias = "LabelArray | NDArray[np.float32]"
"""The targets of examples: labels (n,), or soft or multi-label targets (n, n_classes)."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Examples 0 to n - 1: each one's row in `tracks`, its label, and where its crops may start.

    Crops of example `i` start at one of the frames `places[offsets[i]:offsets[i + 1]]`, or anywhere
    if `places` is None. An epoch draws `n_epoch` examples. `targets` (n, n_classes), if given, are
    soft targets that replace the labels in the loss.

    With several views of each track, the examples are those of the first view, then the same of the
    second, and so on: whenever an example is drawn, one of its views is chosen at random.
    """

    tracks: Tracks
    rows: RowIndices
    labels: LabelArray
    n_epoch: int
    n_frames: int
    balanced: bool
    places: NDArray[np.int64] | None = None
    offsets: NDArray[np.int64] | None = None
    targets: NDArray[np.float32] | None = None
    n_views: int = 1

    def draw(
        self, n: int, rng: np.random.Generator, views: np.random.Generator
    ) -> tuple[RowIndices, RowIndices, ExampleTargets]:
        """Draws `n` crops: row in `tracks`, first frame (may be negative), label, each (n,).

        With soft targets these replace the labels: (n, n_classes), as multi-label ones are. `views`
        chooses between the views of an example.
        """
        n_examples = len(self.rows) // self.n_views
        if self.balanced:
            chosen = balanced_order(self.labels[:n_examples], n=n, rng=rng)
        else:
            n_shuffles = -(-n // n_examples)
            shuffles = [rng.permutation(n_examples) for _ in range(n_shuffles)]
            chosen = np.concatenate(shuffles)[:n]
        if self.n_views > 1:
            chosen = chosen + n_examples * views.integers(self.n_views, size=n)
        rows = self.rows[chosen]
        if self.places is not None and self.offsets is not None:
            starts = self.places[_in_turn(chosen, self.offsets, rng)]
        else:
            slack = self.tracks.lengths[rows] - self.n_frames  # negative: shorter than a crop
            starts = np.minimum(slack, 0) + rng.integers(np.abs(slack) + 1)
        return rows, starts, (self.labels if self.targets is None else self.targets)[chosen]


def make_examples(data: FoldData, settings: TrainConfig, *, n_frames: int, seed: int) -> Examples:
    """The examples from which a training config draws crops of `n_frames` frames.

    Args:
        data: the fold; only its training rows are read.
        settings: class balancing and crop positions.
        n_frames: of a crop; 1 for a table.
        seed: of synthetic rows.

    Raises:
        UserError: synthetic rows or time stretching are not possible with these features.
    """
    if data.is_table and settings.stretch:
        raise UserError(
            f"train.stretch={settings.stretch} needs frames with an order in time, but these "
            f"features are a table; write train.stretch: 0"
        )
    rows = np.asarray(data.train_rows, dtype=np.int64)
    labels = data.labels[rows]
    targets = None if data.targets is None else np.asarray(data.targets, np.float32)[rows]
    balanced = settings.balance == "sampling"
    if balanced and settings.synthetic:
        return _with_smote(data, rows, labels, targets, settings, seed=seed)
    if data.is_table:  # an example for each row of a track
        lengths = data.lengths[rows]
        places = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        rows, labels = np.repeat(rows, lengths), np.repeat(labels, lengths, axis=0)
        if targets is not None:
            targets = np.repeat(targets, lengths, axis=0)
        offsets = np.arange(len(rows) + 1)
        n_epoch = len(rows) * settings.crops_per_track
        return Examples(data, rows, labels, n_epoch, n_frames, balanced, places, offsets, targets)
    n_epoch = len(rows) * settings.crops_per_track
    tracks: Tracks = data
    n_views = 1 + len(data.views) if settings.views else 1
    if n_views > 1:
        tracks = ViewedTracks.of(data)
        rows = rows_of_all_views(rows, n_tracks=len(data.labels), n_views=n_views)
        labels = np.concatenate([labels] * n_views)
        targets = None if targets is None else np.concatenate([targets] * n_views)
    starts: tuple[NDArray[np.int64] | None, NDArray[np.int64] | None] = (None, None)
    if not settings.random_crop:
        fixed = evaluation_windows(
            tracks.lengths, rows, n_frames=n_frames, n_windows=settings.n_windows
        )
        offsets = np.concatenate([[0], np.cumsum(np.bincount(fixed.track, minlength=len(rows)))])
        starts = (fixed.start.numpy(), offsets)
    return Examples(tracks, rows, labels, n_epoch, n_frames, balanced, *starts, targets, n_views)


def _with_smote(
    data: FoldData,
    rows: RowIndices,
    labels: LabelArray,
    targets: NDArray[np.float32] | None,
    settings: TrainConfig,
    *,
    seed: int,
) -> Examples:
    """A copy of a table's training rows, extended by synthetic rows (SMOTE).

    The soft target of a synthetic row is its label.
    """
    if not data.is_table or settings.center:
        raise UserError(
            "train.synthetic interpolates rows of an uncentred table, but these are "
            + ("frames of tracks" if not data.is_table else "rows minus their track's mean")
            + f"; write train.{'center' if data.is_table else 'synthetic'}: false"
        )
    begin, end = data.store.offsets[rows], data.store.offsets[rows + 1]
    parts = [data.store.frames[a:b] for a, b in zip(begin, end, strict=True)]
    real, real_labels = np.concatenate(parts), np.repeat(labels, end - begin, axis=0)
    oversample = multi_label_smote if data.multi_label else smote
    made, made_labels = oversample(real, real_labels, derive_seed(seed, Purpose.SYNTHETIC))
    if targets is not None:
        hard = made_labels.astype(np.float32)
        if not data.multi_label:
            hard = np.eye(data.n_classes, dtype=np.float32)[made_labels]
        targets = np.concatenate([np.repeat(targets, end - begin, axis=0), hard])
    frames = np.concatenate([real, made])
    one_each = np.arange(len(frames) + 1, dtype=np.int64)
    store = MemoryFrames(frames, one_each, data.store.frame_rate_hz, data.store.n_channels)
    return Examples(
        tracks=Tracks(store),
        rows=one_each[:-1],
        labels=np.concatenate([real_labels, made_labels]),
        n_epoch=len(real) * settings.crops_per_track,
        n_frames=1,
        balanced=True,
        targets=targets,
    )


def _in_turn(
    chosen: RowIndices, offsets: NDArray[np.int64], rng: np.random.Generator
) -> RowIndices:
    """A place of each chosen example; an example that is chosen repeatedly takes them in turn."""
    counts = np.diff(offsets)
    first = rng.integers(counts)  # of each example, so that epochs start at different places
    order = np.argsort(chosen, kind="stable")
    in_order = chosen[order]
    visit = np.empty(len(chosen), dtype=np.int64)
    visit[order] = np.arange(len(chosen)) - np.searchsorted(in_order, in_order)
    return np.asarray(offsets[chosen] + (first[chosen] + visit) % counts[chosen])
