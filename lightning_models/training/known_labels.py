"""Binary cross-entropy of multi-label targets of which some are unknown.

`module.GenreClassifier` minimizes it where labels of training rows are `UNKNOWN`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def known_weights(labels: Tensor, blend: tuple[Tensor, Tensor] | None) -> Tensor:
    """The weight (batch, n_classes) of each label in the loss: 0 where it is unknown.

    With mixup, the sum of the weights of those of the two crops whose label is known.

    Args:
        labels: targets (batch, n_classes), negative where they are unknown.
        blend: mixup's other labels, and the weight (batch,) of each crop itself.
    """
    known = (labels >= 0).float()
    if blend is None:
        return known
    others, keep = blend
    return keep.unsqueeze(1) * known + (1 - keep).unsqueeze(1) * (others >= 0)


def known_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    blend: tuple[Tensor, Tensor] | None,
    *,
    class_weights: Tensor | None,
    smoothing: float,
) -> Tensor:
    """The mean over known labels, each weighted by `known_weights`.

    Of a label that is known of one of two mixed crops only, the target is that crop's.

    Args:
        logits: (batch, n_classes).
        labels: as `known_weights`.
        blend: as `known_weights`.
        class_weights: (n_classes,), of the presence of each label.
        smoothing: label smoothing.
    """
    weights = known_weights(labels, blend)
    least = torch.finfo(logits.dtype).tiny  # a batch in which nothing is known has the loss 0
    targets = labels.to(logits.dtype).clamp(min=0)
    if blend is not None:
        others, keep = blend
        own = keep.unsqueeze(1) * (labels >= 0)
        theirs = (1 - keep).unsqueeze(1) * (others >= 0)
        targets = (own * targets + theirs * others.to(logits.dtype)) / weights.clamp(min=least)
    if smoothing:
        targets = torch.lerp(targets, torch.full_like(targets, 0.5), smoothing)
    losses = F.binary_cross_entropy_with_logits(
        logits, targets, pos_weight=class_weights, reduction="none"
    )
    return (losses * weights).sum() / weights.sum().clamp(min=least)
