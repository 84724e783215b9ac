"""By how much a figure is too high on the rows that something was chosen by: 0 or more.

Source: Cawley and Talbot 2010, "On Over-fitting in Model Selection and Subsequent Selection Bias
in Performance Evaluation", https://jmlr.org/papers/v11/cawley10a.html; for kinds of ensembles the
draws of Tsamardinos, Greasidou and Borboudakis 2018, "Bootstrapping the out-of-sample predictions
for efficient and accurate cross-validation", doi:10.1007/s10994-018-5714-4.
"""

from collections.abc import Sequence

import numpy as np

from chorale.datasets.seeds import Purpose, generator
from chorale.lightning_models.metrics import Labels, Proba
from chorale.search.base import Floats, Groups

MOST_LUCKY = 4.0
"""Configurations differ at most by so many times the variance of seeds, where that is seen on few
tracks."""

N_DRAWS = 200
"""So many draws of groups tell how lucky the choice was."""


def luck_of_choice(members: Sequence[Proba], again: Sequence[Proba], labels: Labels) -> float:
    """By how much the chosen configurations are too good on the search fold: 0 or more.

    By how much the trials are better there than the finalists, their networks of other seeds, is
    the luck of the chosen seeds, which the finalists do not have. The luck of the configurations,
    which they do have, is to it as the variance between configurations is to that between seeds:
    a high sum of both has either in that proportion. Where finalists have several seeds it is told
    too low; where fewer than two say something else the second time, it is 0.

    Args:
        members: what each finalist says of the search fold, (n_valid, n_classes).
        again: what their trials said, by which they were chosen.
        labels: (n_valid,).
    """
    pairs = [
        (_right(one, labels), _right(other, labels))
        for one, other in zip(members, again, strict=True)
        if not np.array_equal(one, other)
    ]
    if len(pairs) < 2:
        return 0.0
    now, then = (np.stack(side) for side in zip(*pairs, strict=True))
    of_seed = max(0.0, float(np.mean(then - now)))
    between = float(np.var(now, axis=0, ddof=1).mean())
    within = float(np.mean((then - now) ** 2)) / 2
    if within == 0:  # then nobody was lucky
        return 0.0
    return of_seed * min(MOST_LUCKY, max(0.0, between / within - 1))


def _right(proba: Proba, labels: Labels) -> np.ndarray:
    return np.asarray(proba.argmax(axis=1) == labels, dtype=np.float64)


def luck_of_kind(
    losses: Sequence[Floats], right: Sequence[Floats], groups: Groups, *, seed: int
) -> float:
    """By how much the accuracy of the kind with the lowest loss is too high: 0 or more.

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
    every = hits.sum(axis=1) / sizes.sum()
    found = []
    for _ in range(N_DRAWS):
        times = np.bincount(rng.integers(n_groups, size=n_groups), minlength=n_groups)
        rest = times == 0
        if not rest.any():
            continue
        there = hits @ rest / (sizes @ rest)
        found.append(there[np.argmin(loss @ times)] - there.mean())
    here = every[np.argmin(loss.sum(axis=1))] - every.mean()
    return max(0.0, float(here - np.mean(found))) if found else 0.0
