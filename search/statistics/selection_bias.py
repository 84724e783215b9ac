"""Selection bias: by how much an accuracy is too high on the rows that a choice was made by.

Source: Cawley and Talbot 2010, "On Over-fitting in Model Selection and Subsequent Selection Bias in
Performance Evaluation", https://jmlr.org/papers/v11/cawley10a.html; for kinds of ensembles the
bootstrap of Tsamardinos, Greasidou and Borboudakis 2018, "Bootstrapping the out-of-sample
predictions for efficient and accurate cross-validation", doi:10.1007/s10994-018-5714-4.
"""

from collections.abc import Sequence

import numpy as np

from chorale.datasets.seeds import Purpose, random_generator
from chorale.lightning_models.metrics import Labels, Proba, correct
from chorale.search.statistics.arrays import Floats, Groups
from chorale.search.statistics.jackknife import deleted_blocks
from chorale.search.statistics.multi_label_scores import block_values

MAX_VARIANCE_RATIO = 4.0
"""The largest ratio assumed of the variance between configurations to that between seeds: few
tracks overestimate it."""

N_BOOTSTRAP_DRAWS = 200
"""Bootstrap draws of groups for the bias of choosing a kind of ensemble."""


def configuration_selection_bias(
    out_of_fold: Sequence[Proba], trials: Sequence[Proba], labels: Labels, *, at: Labels
) -> float:
    """The bias of finalists' out-of-fold accuracy (or mAP), as trials on one fold chose them.

    The finalists are retrained with other seeds. By how much their trials are better on the search
    fold is the bias of the seed, which the finalists do not have. Their bias of the configuration
    relates to it as the variance between configurations to that between seeds: a high sum of two
    effects holds either in that proportion. It is 0 where fewer than two finalists predict anything
    different after retraining. It is never negative.

    Args:
        out_of_fold: each finalist's probabilities by networks of one seed, (n, n_classes).
        trials: their trials' probabilities on the search fold, (n_valid, n_classes).
        labels: (n,), or multi-label (n, n_classes).
        at: (n_valid,) the positions of the search fold's rows.
    """
    pairs = [
        (_values(one[at], labels[at]), _values(trial, labels[at]))
        for one, trial in zip(out_of_fold, trials, strict=True)
        if not np.array_equal(one[at], trial)
    ]
    if len(pairs) < 2:
        return 0.0
    now, then = (np.stack(side) for side in zip(*pairs, strict=True))
    by_seed = max(0.0, float(np.mean(then - now)))
    between = float(np.var(now, axis=0, ddof=1).mean())
    within = float(np.mean((then - now) ** 2)) / 2
    if within == 0:  # seeds make no difference
        return 0.0
    ratio = min(MAX_VARIANCE_RATIO, max(0.0, between / within - 1))
    return by_seed * ratio * len(at) / len(labels)


def kind_selection_bias(
    losses: Sequence[Floats], right: Sequence[Floats], groups: Groups, *, seed: int
) -> float:
    """The bias of the accuracy of the kind of ensemble with the lowest loss: 0 or more.

    By bootstrap over groups: the kind with the lowest loss on the drawn groups is scored on the
    others, as its lead over the mean accuracy of all kinds there. The bias is the lead of the kind
    that all groups chose on these same groups, minus the mean of these out-of-bag leads. Of several
    labels it was -0.3 to 1.1 points above the truth in 16 simulated cells of 5 to 60 groups
    (`bench_statistics.py --only label_kinds`, 20 studies each): as it is never negative, it is too
    high where groups are few.

    Args:
        losses: of each kind, (n_tracks,).
        right: of each kind, 1 where it is right, (n_tracks,). Of several labels, the values of
            `multi_label_scores.block_values`, and the losses and groups of the same blocks.
        groups: (n_tracks,).
        seed: of the bootstrap.
    """
    _, group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    n_groups, rng = len(sizes), random_generator(seed, Purpose.SELECTION_BIAS)
    if n_groups == 1 or len(losses) == 1:
        return 0.0
    loss, hits = (
        np.stack([np.bincount(group_of, weights=one) for one in each]) for each in (losses, right)
    )
    times = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=N_BOOTSTRAP_DRAWS)
    times = times[(times == 0).any(axis=1)]  # draws with an out-of-bag group: (n_draws, n_groups)
    rest = (times == 0).T
    there = hits @ rest / (sizes @ rest)  # (n_kinds, n_draws)
    chosen = np.argmin(loss @ times.T, axis=0)
    above = there[chosen, np.arange(len(times))] - there.mean(axis=0)
    every = hits.sum(axis=1) / sizes.sum()
    here = every[np.argmin(loss.sum(axis=1))] - every.mean()
    return max(0.0, float(here - above.mean()))


def _values(proba: Proba, labels: Labels) -> Floats:
    """Values of which the accuracy or the mAP is the mean: of each row, or of blocks of rows."""
    if labels.ndim == 1:
        return correct(proba, labels)
    return block_values(proba, labels, deleted_blocks(np.arange(len(labels))))
