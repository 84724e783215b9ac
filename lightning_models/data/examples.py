"""What an epoch is drawn from: training tracks, the rows of a table, synthetic rows beside them.

`batches` cuts crops of what is drawn. Nothing here looks at a row that is not a training row.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.splitting.balance import balanced_order, smote
from chorale.datasets.errors import UserError
from chorale.datasets.seeds import Purpose, seed_of
from chorale.lightning_models.data.datamodule import FoldData, MemoryFrames, Rows, Tracks
from chorale.lightning_models.train_config import TrainConfig
from chorale.lightning_models.data.windows import windows

Told = NDArray[np.int64] | NDArray[np.float32]
"""What training is told of examples: labels (n,), or shares of the classes (n, n_classes)."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Examples 0 to n - 1: the row in `tracks` of each, its label, and the places of its crops.

    Example `i` has the places `places[offsets[i]:offsets[i + 1]]`, frames at which a crop may
    start; without them it may start anywhere. `n_epoch` examples are drawn for an epoch.
    `targets` (n, n_classes), where there are any, are what is told of an example instead of its
    label.
    """

    tracks: Tracks
    rows: Rows
    labels: NDArray[np.int64]
    n_epoch: int
    n_frames: int
    balanced: bool
    places: NDArray[np.int64] | None = None
    offsets: NDArray[np.int64] | None = None
    targets: NDArray[np.float32] | None = None

    def draw(self, n: int, rng: np.random.Generator) -> tuple[Rows, Rows, Told]:
        """Draws `n` crops: row in `tracks`, first frame (may be negative), label, each (n,).

        Where there are targets, they stand in the labels' place: (n, n_classes).
        """
        if self.balanced:
            chosen = balanced_order(self.labels, n=n, rng=rng)
        else:
            n_shuffles = -(-n // len(self.rows))
            shuffles = [rng.permutation(len(self.rows)) for _ in range(n_shuffles)]
            chosen = np.concatenate(shuffles)[:n]
        rows = self.rows[chosen]
        if self.places is not None and self.offsets is not None:
            starts = self.places[_in_turn(chosen, self.offsets, rng)]
        else:
            slack = self.tracks.lengths[rows] - self.n_frames  # negative: shorter than a crop
            starts = np.minimum(slack, 0) + rng.integers(np.abs(slack) + 1)
        return rows, starts, (self.labels if self.targets is None else self.targets)[chosen]


def examples(data: FoldData, settings: TrainConfig, *, n_frames: int, seed: int) -> Examples:
    """What a training config draws crops of `n_frames` frames from.

    Args:
        data: the fold; only its training rows are looked at.
        settings: how classes are balanced and where crops lie.
        n_frames: of a crop; 1 for a table.
        seed: of synthetic rows.

    Raises:
        UserError: synthetic rows or other speeds are asked for where they mean nothing.
    """
    if data.is_table and settings.stretch:
        raise UserError(
            f"train.stretch={settings.stretch} needs frames that follow one another in time, but "
            f"these features are a table; write train.stretch: 0"
        )
    rows = np.asarray(data.train_rows, dtype=np.int64)
    labels = np.asarray(data.labels, dtype=np.int64)[rows]
    targets = None if data.targets is None else np.asarray(data.targets, np.float32)[rows]
    balanced = settings.balance == "sampling"
    if balanced and settings.synthetic:
        return _with_synthetic(data, rows, labels, targets, center=settings.center, seed=seed)
    if data.is_table:  # an example for each row of a track
        lengths = data.lengths[rows]
        places = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        rows, labels = np.repeat(rows, lengths), np.repeat(labels, lengths)
        if targets is not None:
            targets = np.repeat(targets, lengths, axis=0)
        offsets = np.arange(len(rows) + 1)
        return Examples(data, rows, labels, len(rows), n_frames, balanced, places, offsets, targets)
    n_epoch = len(rows) * settings.crops_per_track
    if settings.random_crop:
        return Examples(data, rows, labels, n_epoch, n_frames, balanced, targets=targets)
    judged = windows(data.lengths, rows, n_frames=n_frames, n_windows=settings.n_windows)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(judged.track, minlength=len(rows)))])
    places = judged.start.numpy()
    return Examples(data, rows, labels, n_epoch, n_frames, balanced, places, offsets, targets)


def _with_synthetic(
    data: FoldData,
    rows: Rows,
    labels: NDArray[np.int64],
    targets: NDArray[np.float32] | None,
    *,
    center: bool,
    seed: int,
) -> Examples:
    """The training rows of a table and nothing else of it, copied, and synthetic rows.

    Of a synthetic row nobody has said more than its label.
    """
    if not data.is_table or center:
        raise UserError(
            "train.synthetic makes new rows of a table as it is, but these are "
            + ("frames of tracks" if not data.is_table else "rows less their track's mean")
            + f"; write train.{'center' if data.is_table else 'synthetic'}: false"
        )
    begin, end = data.store.offsets[rows], data.store.offsets[rows + 1]
    parts = [data.store.frames[a:b] for a, b in zip(begin, end, strict=True)]
    real, real_labels = np.concatenate(parts), np.repeat(labels, end - begin)
    made, made_labels = smote(real, real_labels, seed_of(seed, Purpose.SYNTHETIC))
    if targets is not None:
        hard = np.eye(data.n_classes, dtype=np.float32)[made_labels]
        targets = np.concatenate([np.repeat(targets, end - begin, axis=0), hard])
    frames = np.concatenate([real, made])
    one_each = np.arange(len(frames) + 1, dtype=np.int64)
    store = MemoryFrames(frames, one_each, data.store.frame_rate_hz, data.store.n_channels)
    return Examples(
        tracks=Tracks(store),
        rows=one_each[:-1],
        labels=np.concatenate([real_labels, made_labels]),
        n_epoch=len(real),
        n_frames=1,
        balanced=True,
        targets=targets,
    )


def _in_turn(chosen: Rows, offsets: NDArray[np.int64], rng: np.random.Generator) -> Rows:
    """A place of each chosen example, all of them in turn where it is chosen more than once."""
    counts = np.diff(offsets)
    first = rng.integers(counts)  # of each example, so that epochs begin elsewhere
    order = np.argsort(chosen, kind="stable")
    in_order = chosen[order]
    visit = np.empty(len(chosen), dtype=np.int64)
    visit[order] = np.arange(len(chosen)) - np.searchsorted(in_order, in_order)
    return np.asarray(offsets[chosen] + (first[chosen] + visit) % counts[chosen])
