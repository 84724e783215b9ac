"""Stratified group splits: seeded draws of a test set and of folds from whole groups.

`datasets.splitting.split` calls it and checks the result. Rows are given as group numbers `g` (n,)
and labels `y`: class numbers (n,), both counted from 0, or (n, n_classes) where multi-label, where
those that are known to be present count.
"""

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.label_sets import LabelArray, is_present

Int64Array = NDArray[np.int64]

MAX_ATTEMPTS = 10
MAX_DRAWN_GROUPS = 2000
"""With few groups a single draw can be uneven, so several are made and the best is kept; with many
groups all draws are similar. Attempts times groups stay below this, so it takes less than 1 s."""


def class_count(y: LabelArray) -> int:
    """The number of classes of labels that have them all, or 0."""
    return y.shape[1] if y.ndim == 2 else int(y.max(initial=-1)) + 1


def rows_of_class(y: LabelArray, number: int) -> NDArray[np.bool_]:
    """A mask (n,) of the rows with a class."""
    return np.asarray(is_present(y[:, number]) if y.ndim == 2 else y == number)


def group_counts(y: LabelArray, g: Int64Array, *, n_classes: int) -> Int64Array:
    """Number of rows per group and class: (n_groups, n_classes)."""
    n_groups = int(g.max()) + 1 if len(g) else 0
    if y.ndim == 2:
        counts = np.zeros((n_groups, n_classes), np.int64)
        np.add.at(counts, g, is_present(y))
        return counts
    flat = np.bincount(g * n_classes + y, minlength=n_groups * n_classes)
    return flat.reshape(n_groups, n_classes).astype(np.int64)


def draw_test(
    y: LabelArray, g: Int64Array, *, share: float, keep: int, seed: int
) -> NDArray[np.bool_] | None:
    """Draws the test set: whole groups, about `share` of every class, at least one group each.

    Greedy in random order of the groups: one is taken if it brings the classes' shares nearer to
    `share`, unless one of its classes would keep fewer than `keep` groups.

    Returns:
        a mask (n,), or None if no draw contained every class.
    """
    counts = group_counts(y, g, n_classes=class_count(y))
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


def draw_folds(y: LabelArray, g: Int64Array, *, n_folds: int, seed: int) -> Int64Array:
    """The fold (n,) of each row: 0 to `n_folds` - 1, by whole groups, stratified by class.

    Of several draws the one with the fewest classes missing in a fold is kept; among those, the
    one with the most even classes.
    """
    n_groups, n_classes = len(np.unique(g)), class_count(y)
    counts, sizes = group_counts(y, g, n_classes=n_classes), np.bincount(g)
    best: tuple[tuple[int, float], Int64Array] | None = None
    for attempt in range(_attempts(n_groups)):
        state = int(np.random.SeedSequence([seed, 1, attempt]).generate_state(1)[0])
        if y.ndim == 2:
            folds = stratify_groups(counts, sizes, n_folds=n_folds, seed=state)[g]
        else:
            folds = _one_class_folds(y, g, n_folds=n_folds, seed=state, n_groups=n_groups)
        per_fold = group_counts(y, folds, n_classes=n_classes)  # (n_folds, n_classes)
        uneven = float(np.sum((per_fold / per_fold.sum(axis=0) - 1 / n_folds) ** 2))
        score = (int(np.sum(per_fold == 0)), uneven)
        if best is None or score < best[0]:
            best = (score, folds)
    if best is None:
        raise ValueError("no fold was drawn")
    return best[1]


def _one_class_folds(
    y: LabelArray, g: Int64Array, *, n_folds: int, seed: int, n_groups: int
) -> Int64Array:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    # groups of one row each need no group search, which is slow for many groups
    one_row_each = n_groups == len(g)
    kind = StratifiedKFold if one_row_each else StratifiedGroupKFold
    folds = np.zeros(len(y), dtype=np.int64)
    parts = kind(n_folds, shuffle=True, random_state=seed).split(y, y, None if one_row_each else g)
    for fold, (_, valid) in enumerate(parts):
        folds[valid] = fold
    return folds


def stratify_groups(
    counts: Int64Array, sizes: Int64Array, *, n_folds: int, seed: int
) -> Int64Array:
    """Iterative stratification of groups with several labels: the fold (n_groups,) of each group.

    It is -1 for a group without rows.

    Labels are placed one by one, the one with the fewest groups left first; each of its groups, the
    one with most of its rows first, goes to the fold that lacks most rows of this label, then to
    the one that lacks most rows.

    Args:
        counts: (n_groups, n_classes), rows of each group with each label.
        sizes: (n_groups,), rows of each group.
        n_folds: how many folds.
        seed: of the order of equal groups and of ties between folds.

    Source: Sechidis, Tsoumakas and Vlahavas 2011, "On the Stratification of Multi-Label Data",
    doi:10.1007/978-3-642-23808-6_10; here for groups instead of rows.
    """
    rng = np.random.default_rng(seed)
    # the rows themselves are the last label: it is placed for groups that have no other left
    counts = np.column_stack([counts, sizes])
    wanted = np.tile(counts.sum(axis=0) / n_folds, (n_folds, 1))
    fold_of = np.full(len(counts), -1, dtype=np.int64)
    while (left := (fold_of < 0) & (sizes > 0)).any():
        n_left = (counts[left] > 0).sum(axis=0)
        label = int(np.where(n_left > 0, n_left, len(counts) + 1).argmin())
        mine = rng.permutation(np.flatnonzero(left & (counts[:, label] > 0)))
        for group in mine[np.argsort(-counts[mine, label], kind="stable")]:
            lacking = np.round(wanted[:, label], 9)
            fold = int(np.lexsort((rng.random(n_folds), -wanted[:, -1], -lacking))[0])
            fold_of[group] = fold
            wanted[fold] -= counts[group]
    return fold_of


def _attempts(n_groups: int) -> int:
    return max(1, min(MAX_ATTEMPTS, MAX_DRAWN_GROUPS // n_groups))
