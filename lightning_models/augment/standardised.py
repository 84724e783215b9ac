"""Mixup and SpecAugment of a batch of standardized crops, on the batch's own device.

`GenreClassifier` applies them to training crops only.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def mixup(x: Tensor, *, alpha: float, rng: np.random.Generator) -> tuple[Tensor, Tensor, int]:
    """Mixup: blends each crop with another one of its batch.

    Batches are shuffled already, so the other crop is the one `shift` positions away.

    Args:
        x: (batch, n_channels, n_bins, n_frames).
        alpha: of the Beta(alpha, alpha) distribution of the weights; greater than 0.
        rng: draws the weights.

    Returns:
        The blended batch; the weight (batch,) of each crop itself, at least one half; and the
        shift: the other weight belongs to `labels.roll(shift)`.

    Source: Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", arXiv:1710.09412.
    """
    drawn = rng.beta(alpha, alpha, size=len(x)).astype(np.float32)
    keep = torch.from_numpy(np.maximum(drawn, 1 - drawn)).to(x.device)
    shift = 1
    other = x.roll(shift, dims=0)
    return torch.lerp(other, x, keep.view(-1, 1, 1, 1)), keep, shift


def spec_augment(
    x: Tensor, *, n_masks: int, shares: Sequence[float], rng: np.random.Generator
) -> Tensor:
    """SpecAugment: sets random frequency bands and time spans of each crop to the mean.

    Args:
        x: (batch, n_channels, n_bins, n_frames), standardized, so that the mean is 0.
        n_masks: the number of frequency masks, and of time masks, per crop.
        shares: the largest share (0 to 1) of the bins that a frequency mask covers, and of the
            frames that a time mask covers.
        rng: draws widths and positions.

    Source: Park et al. 2019, "SpecAugment", arXiv:1904.08779 (without time warping).
    """
    for dim, share in zip((2, 3), shares, strict=True):
        size = x.shape[dim]
        width = rng.uniform(0, share * size, (len(x), n_masks, 1))
        start = rng.uniform(0, 1, (len(x), n_masks, 1)) * (size - width)
        place = np.arange(size)
        hidden = ((place >= start) & (place < start + width)).any(axis=1)  # (batch, size)
        mask = torch.from_numpy(hidden).to(x.device)
        x = x.masked_fill(mask.unsqueeze(1).unsqueeze(5 - dim), 0.0)
    return x
