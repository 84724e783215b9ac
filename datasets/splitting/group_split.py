"""Stratified group splits: seeded draws of a test set and of folds from whole groups.

`datasets.splitting.split` calls it and checks the result. Rows are given as class numbers `y` (n,)
and group numbers `g` (n,), both counted from 0.
"""

import numpy as np
from numpy.typing import NDArray

Int64Array = NDArray[np.int64]

MAX_ATTEMPTS = 10
MAX_DRAWN_GROUPS = 2000
"""With few groups a single draw can be uneven, so several are made and the best is kept; with many
groups all draws are similar. Attempts times groups stay below this, so it takes less than 1 s."""


def group_counts(y: Int64Array, g: Int64Array, *, n_classes: int) -> Int64Array:
    """Number of rows per group and class: (n_groups, n_classes)."""
    n_groups = int(g.max()) + 1 if len(g) else 0
    flat = np.bincount(g * n_classes + y, minlength=n_groups * n_classes)
    return flat.reshape(n_groups, n_classes).astype(np.int64)


def draw_test(
    y: Int64Array, g: Int64Array, *, share: float, keep: int, seed: int
) -> NDArray[np.bool_] | None:
    """Draws the test set: whole groups, about `share` of every class, at least one group each.

    Greedy in random order of the groups: one is taken if it brings the classes' shares nearer to
    `share`, unless one of its classes would keep fewer than `keep` groups.

    Returns:
        a mask (n,), or None if no draw contained every class.
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
    counts: Int64Array, *, share: float, keep: int, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], float]:
    """One draw: which groups are taken, and the squared error of the classes' shares."""
    shares = counts / counts.sum(axis=0)  # (n_groups, n_classes)
    spare = (counts > 0).sum(axis=0) - keep  # groups of each class that may still be taken
    missing = np.full(counts.shape[1], share)
    taken = np.zeros(len(counts), dtype=bool)

    def take(group: int) -> None:
        taken[group] = True
        missing[:] -= shares[group]
        spare[:] -= counts[group] > 0

    def can_take(group: int) -> bool:
        return not taken[group] and bool((spare[counts[group] > 0] > 0).all())

    order = rng.permutation(len(counts))
    for group in order:
        nearer = float(np.sum((missing - shares[group]) ** 2)) < float(np.sum(missing**2))
        if nearer and can_take(group):
            take(group)
    # a class of few, large groups can be missing: its group with the least error is taken
    for label in range(counts.shape[1]):
        if not counts[taken, label].any():
            possible = [group for group in order if counts[group, label] and can_take(group)]
            if possible:
                take(min(possible, key=lambda group: float(np.sum((missing - shares[group]) ** 2))))
    return taken, float(np.sum(missing**2))


def draw_folds(y: Int64Array, g: Int64Array, *, n_folds: int, seed: int) -> Int64Array:
    """The fold (n,) of each row: 0 to `n_folds` - 1, by whole groups, stratified by class.

    Of several draws the one with the fewest classes missing in a fold is kept; among those, the
    one with the most even classes.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    n_groups = len(np.unique(g))
    # groups of one row each need no group search, which is slow for many groups
    one_row_each = n_groups == len(g)
    kind = StratifiedKFold if one_row_each else StratifiedGroupKFold
    best: tuple[tuple[int, float], Int64Array] | None = None
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
    return max(1, min(MAX_ATTEMPTS, MAX_DRAWN_GROUPS // n_groups))
