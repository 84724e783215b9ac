"""Draws test sets and folds of whole groups, seeded, with each class in every part.

`datasets.splitting.split` says what is asked for and checks it; here it is only drawn. Rows are
given as class numbers `y` (n,) and group numbers `g` (n,), both counted from 0.
"""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

MAX_ATTEMPTS = 10
GROUPS_IN_ALL = 2000
"""With few groups one draw can be unlucky, so several are made and the best is kept; with many
they all are alike. Attempts times groups stay below this, so drawing takes less than a second."""


def group_counts(y: Ints, g: Ints, *, n_classes: int) -> Ints:
    """How many rows of each class each group has: (n_groups, n_classes)."""
    n_groups = int(g.max()) + 1 if len(g) else 0
    flat = np.bincount(g * n_classes + y, minlength=n_groups * n_classes)
    return flat.reshape(n_groups, n_classes).astype(np.int64)


def draw_test(y: Ints, g: Ints, *, share: float, keep: int, seed: int) -> NDArray[np.bool_] | None:
    """Which rows to lock away: whole groups, about `share` of every class, at least one group.

    Groups come in random order, and one is taken where it brings the classes' shares nearer to
    `share`, unless one of its classes would keep fewer than `keep` groups.

    Returns:
        a mask (n,), or None where no draw had every class in it.
    """
    counts = group_counts(y, g, n_classes=int(y.max()) + 1)
    best: tuple[float, NDArray[np.bool_]] | None = None
    for attempt in range(_attempts(len(counts))):
        rng = np.random.default_rng([seed, 0, attempt])
        taken, loss = _draw_groups(counts, share=share, keep=keep, rng=rng)
        complete = bool(counts[taken].sum(axis=0).all())
        if complete and (best is None or loss < best[0]):
            best = (loss, taken)
    return None if best is None else best[1][g]


def _draw_groups(
    counts: Ints, *, share: float, keep: int, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], float]:
    """One draw: which groups are taken, and how far the classes' shares are from `share`."""
    shares = counts / counts.sum(axis=0)  # (n_groups, n_classes)
    spare = (counts > 0).sum(axis=0) - keep  # groups of each class that may still be taken
    missing = np.full(counts.shape[1], share)
    taken = np.zeros(len(counts), dtype=bool)

    def take(group: int) -> None:
        taken[group] = True
        missing[:] -= shares[group]
        spare[:] -= counts[group] > 0

    def may_go(group: int) -> bool:
        return not taken[group] and bool((spare[counts[group] > 0] > 0).all())

    order = rng.permutation(len(counts))
    for group in order:
        nearer = float(np.sum((missing - shares[group]) ** 2)) < float(np.sum(missing**2))
        if nearer and may_go(group):
            take(group)
    # a class of few, large groups can be left out: its group that does least harm is taken
    for label in range(counts.shape[1]):
        if not counts[taken, label].any():
            can = [group for group in order if counts[group, label] and may_go(group)]
            if can:
                take(min(can, key=lambda group: float(np.sum((missing - shares[group]) ** 2))))
    return taken, float(np.sum(missing**2))


def draw_folds(y: Ints, g: Ints, *, n_folds: int, seed: int) -> Ints:
    """The fold (n,) of each row: 0 to `n_folds` - 1, groups whole, classes as even as can be.

    Of several draws the one with the fewest classes missing in a fold is kept; among those, the
    one with the evenest classes.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    n_groups = len(np.unique(g))
    # groups of one row each need no search for their place, which takes long for many groups
    one_row_each = n_groups == len(g)
    kind = StratifiedKFold if one_row_each else StratifiedGroupKFold
    best: tuple[tuple[int, float], Ints] | None = None
    for attempt in range(_attempts(n_groups)):
        state = int(np.random.SeedSequence([seed, 1, attempt]).generate_state(1)[0])
        folds = np.zeros(len(y), dtype=np.int64)
        parts = kind(n_folds, shuffle=True, random_state=state).split(
            y, y, None if one_row_each else g
        )
        for fold, (_, valid) in enumerate(parts):
            folds[valid] = fold
        per_fold = group_counts(y, folds, n_classes=int(y.max()) + 1)  # (n_folds, n_classes)
        uneven = float(np.sum((per_fold / per_fold.sum(axis=0) - 1 / n_folds) ** 2))
        score = (int(np.sum(per_fold == 0)), uneven)
        if best is None or score < best[0]:
            best = (score, folds)
    if best is None:
        raise ValueError("no fold was drawn")
    return best[1]


def _attempts(n_groups: int) -> int:
    return max(1, min(MAX_ATTEMPTS, GROUPS_IN_ALL // n_groups))
