"""The data loader: batches of augmented training crops, gathered from frames in memory.

Frames stay in memory (or on the GPU) and a batch is gathered from them in one indexing call:
for data of this size DataLoader workers would cost two to three times as much.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chorale.datasets.seeds import Purpose, random_generator
from chorale.lightning_models.augment.levels import CropChange, level_augmentation
from chorale.lightning_models.data.datamodule import FoldData, RowIndices, Tracks
from chorale.lightning_models.data.examples import make_examples
from chorale.lightning_models.train_config import TrainConfig

GATHER_BYTES = 2**20
"""Several batches of small crops are gathered in one call, up to this size, and then split: a call
for each would take longer than the gathering."""


class CropSource:
    """Gathers crops of equal length from ragged frames."""

    def __init__(
        self, data: Tracks, *, n_frames: int, pad: Tensor, center: bool, device: torch.device
    ) -> None:
        """Crops of a given length.

        Args:
            data: the tracks.
            n_frames: of a crop.
            pad: (n_channels * n_bins,), the frame for padding before and after a track.
            center: whether each track's mean is subtracted.
            device: the device of the crops.
        """
        self.n_frames = n_frames
        self.device = device
        self._parts = data.frame_parts(device)
        self.frames_device = self._parts[0].device
        self._begins = torch.from_numpy(data.begins)
        self._lengths = torch.from_numpy(data.lengths)
        self._steps = torch.arange(n_frames, device=self.frames_device)
        self._pad = pad.to(self.frames_device)
        self._n_channels = data.store.n_channels
        self.n_values = data.store.n_bins
        self._means = data.track_means if center else None

    def gather(
        self,
        rows: Tensor,
        starts: Tensor,
        *,
        speeds: Tensor | None = None,
        change: CropChange | None = None,
    ) -> Tensor:
        """One crop for each of `rows`, starting at frame `starts` (may be negative) of its track.

        With `center`, the change of a crop's mean by an augmentation is subtracted, too: if the
        whole track had been augmented, its mean would have changed as well.

        Args:
            rows: (batch,) int64.
            starts: (batch,): int64, or any float with `speeds`.
            speeds: (batch,), the track's frames per frame of the crop; None for 1.
            change: the augmentation of a crop's frames within its track.

        Returns:
            (batch, n_channels, n_bins, n_frames): a view of memory in which frames are contiguous.
        """
        if speeds is None:
            x, inside = self._frames_from(rows, starts)
        else:
            x, inside = self._frames_between(rows, starts, speeds)
        if change is not None:
            changed = change(x, inside)
            if self._means is not None:
                changed = changed - _mean_frame(changed - x, inside)
            x = changed
        if self._means is not None:
            x -= self._means[rows].to(self.frames_device).unsqueeze(1)
        if inside is not None:
            x = torch.where(inside.unsqueeze(2), x, self._pad)
        x = x.view(*x.shape[:2], self._n_channels, -1)  # (batch, n_frames, n_channels, n_bins)
        return x.to(self.device).permute(0, 2, 3, 1)

    def _frames_from(self, rows: Tensor, starts: Tensor) -> tuple[Tensor, Tensor | None]:
        """Frames (batch, n_frames, all bins), and the mask of those inside tracks; None for all."""
        lengths = self._lengths[rows]
        padded = bool(((starts < 0) | (starts + self.n_frames > lengths)).any())
        begin = self._begins[rows].to(self.frames_device).unsqueeze(1)
        place = (
            starts.to(self.frames_device).unsqueeze(1) + self._steps
        )  # (batch, n_frames), in the track
        inside = None
        if padded:
            length = lengths.to(self.frames_device).unsqueeze(1)
            inside = (place >= 0) & (place < length)
            place = torch.minimum(place.clamp(min=0), length - 1)
        return self._at(begin + place), inside

    def _frames_between(
        self, rows: Tensor, starts: Tensor, speeds: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Like `_frames_from`, of a slower or faster track, by linear interpolation of frames."""
        lengths = self._lengths[rows]
        padded = bool(((starts < 0) | (starts + speeds * (self.n_frames - 1) > lengths - 1)).any())
        begin = self._begins[rows].to(self.frames_device).unsqueeze(1)
        last = lengths.to(self.frames_device).unsqueeze(1) - 1
        speed = speeds.to(self.frames_device).unsqueeze(1)
        place = (
            starts.to(self.frames_device).unsqueeze(1) + speed * self._steps
        )  # (batch, n_frames)
        # a frame of the crop stands for `speed` frames of the track, so at least one is inside
        inside = (place >= -speed / 2) & (place <= last + speed / 2) if padded else None
        place = torch.minimum(place.clamp(min=0), last)
        below = place.long()
        share = (place - below).to(self._parts[0].dtype).unsqueeze(2)
        x = self._at(begin + below)
        return x.lerp_(self._at(begin + torch.minimum(below + 1, last)), share), inside

    def _at(self, index: Tensor) -> Tensor:
        """Copies of the frames at `index` (batch, n_frames): (batch, n_frames, all bins)."""
        flat = index.flatten()
        if len(self._parts) == 1:
            return self._parts[0].index_select(0, flat).view(*index.shape, -1)
        x = torch.empty((len(flat), self.n_values), device=flat.device)
        first = 0
        for frames in self._parts:
            here = ((flat >= first) & (flat < first + len(frames))).nonzero().squeeze(1)
            found = frames.index_select(0, (flat[here] - first).to(frames.device))
            x[here] = found.to(x.device)
            first += len(frames)
        return x.view(*index.shape, -1)


def _mean_frame(x: Tensor, inside: Tensor | None) -> Tensor:
    """The mean of the frames that are inside: (batch, n_frames, bins) -> (batch, 1, bins)."""
    if inside is None:
        return x.mean(dim=1, keepdim=True)
    weights = inside / inside.sum(dim=1, keepdim=True).clamp(min=1)
    return torch.bmm(weights.unsqueeze(1), x)


class TrainBatches:
    """Each iteration is one epoch of shuffled training crops: pairs (x, labels).

    Labels are class indices (batch,), or, where the fold has soft targets, these: (batch,
    n_classes). An epoch takes each track, or each row of a table, `crops_per_track` times; with
    class-balanced sampling it has the same length, but rare classes are drawn more often. Epoch `e`
    depends only on the seed and `e`, so that a resumed training gets the same batches as an
    uninterrupted one. All batches have the same size, so an epoch is rounded to whole batches.
    """

    def __init__(
        self,
        data: FoldData,
        settings: TrainConfig,
        *,
        n_frames: int,
        seed: int,
        device: torch.device | None = None,
    ) -> None:
        """Batches of crops of `n_frames` frames (see `CropSource`) by the training config.

        Raises:
            UserError: an augmentation is configured that these features do not allow.
        """
        device = device or torch.device("cpu")
        self.settings = settings
        self.seed = seed
        self.epoch = 0
        self.n_frames = n_frames
        self._examples = make_examples(data, settings, n_frames=n_frames, seed=seed)
        tracks = self._examples.tracks
        center = settings.center
        mean, _ = data.statistics(center=center)  # standardization turns it into zeros
        self.source = CropSource(tracks, n_frames=n_frames, pad=mean, center=center, device=device)
        self._lengths = tracks.lengths
        rng = random_generator(seed, Purpose.NOISE)
        frames_device = self.source.frames_device
        self._augmentation = level_augmentation(
            settings, data.store.scale, n_frames=n_frames, rng=rng, device=frames_device
        )
        self.batch_size = max(2, min(settings.batch_size, self._examples.n_epoch))  # for batch norm
        self.n_batches = max(1, round(self._examples.n_epoch / self.batch_size))

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        rng = random_generator(self.seed, Purpose.ROW_ORDER, self.epoch)
        changes = random_generator(self.seed, Purpose.AUGMENTATION, self.epoch)
        views = random_generator(self.seed, Purpose.VIEW_CHOICE, self.epoch)
        self.epoch += 1
        n_drawn = self.n_batches * self.batch_size
        rows, starts, classes = self._examples.draw(n_drawn, rng, views)
        begins, speeds = torch.from_numpy(starts), None
        if self.settings.stretch:
            share = self.settings.stretch
            drawn = changes.uniform(1 - share, 1 + share, n_drawn)
            first = _stretched(starts, self._lengths[rows], drawn, n_frames=self.n_frames)
            begins, speeds = torch.from_numpy(first), torch.from_numpy(drawn)
        labels = torch.from_numpy(classes).to(self.source.device)
        tracks = torch.from_numpy(rows)
        n_together = self._n_together()
        for i in range(0, n_drawn, n_together):
            part = slice(i, min(i + n_together, n_drawn))
            x = self.source.gather(
                tracks[part],
                begins[part],
                speeds=None if speeds is None else speeds[part],
                change=None
                if self._augmentation is None
                else self._augmentation.draw(self.batch_size, changes),
            )
            parts = (torch.split(joined, self.batch_size) for joined in (x, labels[part]))
            yield from zip(*parts, strict=True)

    def _n_together(self) -> int:
        """The number of crops to gather at once: of one batch, or of several small ones."""
        if self._augmentation is not None:
            return self.batch_size  # each batch has its own augmentation
        crop_bytes = self.n_frames * self.source.n_values * torch.float32.itemsize
        return self.batch_size * max(1, GATHER_BYTES // (crop_bytes * self.batch_size))


def _stretched(
    starts: RowIndices, lengths: RowIndices, speeds: NDArray[np.float64], *, n_frames: int
) -> NDArray[np.float64]:
    """The starts of crops with the same middle at other speeds, moved into their tracks."""
    span = 1 + (n_frames - 1) * speeds  # frames of the track
    slack = lengths - span
    moved = starts + (n_frames - span) / 2
    return np.clip(moved, np.minimum(slack, 0), np.maximum(slack, 0))
