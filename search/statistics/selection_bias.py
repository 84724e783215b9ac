"""Selection bias: by how much an accuracy is too high on the rows that something was chosen by.

Source: Cawley and Talbot 2010, "On Over-fitting in Model Selection and Subsequent Selection Bias
in Performance Evaluation", https://jmlr.org/papers/v11/cawley10a.html; for kinds of ensembles the
draws of Tsamardinos, Greasidou and Borboudakis 2018, "Bootstrapping the out-of-sample predictions
for efficient and accurate cross-validation", doi:10.1007/s10994-018-5714-4.
"""

from collections.abc import Sequence

import numpy as np

from chorale.datasets.seeds import Purpose, generator
from chorale.lightning_models.metrics import Labels, Proba, correct
from chorale.search.statistics.arrays import Floats, Groups

MOST_RATIO = 4.0
"""Configurations are taken to vary at most by so many times the variance of seeds, as that is seen
on few tracks."""

N_DRAWS = 200
"""So many draws of groups tell the bias of the choice of an ensemble."""


def of_configurations(
    out_of_fold: Sequence[Proba], trials: Sequence[Proba], labels: Labels, *, at: Labels
) -> float:
    """That of the out-of-fold accuracy of finalists, chosen by their trials on one fold: 0 or more.

    By how much the trials are better on that fold than the finalists, their networks of other
    seeds, is the bias by seed, which the finalists do not have. The bias by configuration, which
    they do have, is to it as the variance between configurations is to that between seeds: a high
    sum of both has either in that proportion. Where finalists have several seeds it is told too
    low; where fewer than two say something else the second time, it is 0.

    Args:
        out_of_fold: what each finalist says, (n, n_classes).
        trials: what their trials said of the fold that chose them, (n_valid, n_classes).
        labels: (n,).
        at: (n_valid,) which rows that fold is.
    """
    pairs = [
        (correct(one[at], labels[at]), correct(trial, labels[at]))
        for one, trial in zip(out_of_fold, trials, strict=True)
        if not np.array_equal(one[at], trial)
    ]
    if len(pairs) < 2:
        return 0.0
    now, then = (np.stack(side) for side in zip(*pairs, strict=True))
    by_seed = max(0.0, float(np.mean(then - now)))
    between = float(np.var(now, axis=0, ddof=1).mean())
    within = float(np.mean((then - now) ** 2)) / 2
    if within == 0:  # then no seed made a difference
        return 0.0
    ratio = min(MOST_RATIO, max(0.0, between / within - 1))
    return by_seed * ratio * len(at) / len(labels)


def of_kind(
    losses: Sequence[Floats], right: Sequence[Floats], groups: Groups, *, seed: int
) -> float:
    """That of the accuracy of the kind of ensemble with the lowest loss: 0 or more.

    Groups are drawn with replacement. What has the lowest loss on those drawn is looked at on the
    rest, beside the mean of all kinds there: by so much less than what was chosen by all groups is
    above that mean on these very groups.

    Args:
        losses: of each kind, (n_tracks,).
        right: 1 where it is, (n_tracks,).
        groups: (n_tracks,).
        seed: of the draws.
    """
    _, group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    n_groups, rng = len(sizes), generator(seed, Purpose.CHOICE)
    if n_groups == 1 or len(losses) == 1:
        return 0.0
    loss, hits = (
        np.stack([np.bincount(group_of, weights=one) for one in each]) for each in (losses, right)
    )
    times = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=N_DRAWS)
    times = times[(times == 0).any(axis=1)]  # where some group was not drawn: (n_draws, n_groups)
    rest = (times == 0).T
    there = hits @ rest / (sizes @ rest)  # (n_kinds, n_draws)
    chosen = np.argmin(loss @ times.T, axis=0)
    above = there[chosen, np.arange(len(times))] - there.mean(axis=0)
    every = hits.sum(axis=1) / sizes.sum()
    here = every[np.argmin(loss.sum(axis=1))] - every.mean()
    return max(0.0, float(here - above.mean()))
