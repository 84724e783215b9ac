"""Feasibility checks of a split: enough groups per class, no group and no class misplaced.

`datasets.splitting.split` calls them before anything is trained. Rows are given as class numbers
`y` (n,) and group numbers `g` (n,); each check raises `UserError` if it fails.
"""

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.errors import UserError, join_first
from chorale.datasets.splitting.group_split import Int64Array, group_counts

Names = NDArray[np.str_]


def require_enough_groups(
    classes: Names, y: Int64Array, g: Int64Array, *, n_needed: int, n_test: int, by: str
) -> None:
    """Each class needs a group in each of the `n_needed` folds, and `n_test` groups more.

    `by` is what the groups are, for the error: "group" or "track".
    """
    n_groups = (group_counts(y, g, n_classes=len(classes)) > 0).sum(axis=0)
    few = [
        f"'{classes[c]}' has {n_groups[c]}" for c in np.flatnonzero(n_groups < n_needed + n_test)
    ]
    if not few:
        return
    largest = int(n_groups.min()) - n_test
    advice = (
        f"type --finalists.folds {largest}"
        if largest >= 2
        else f"no number of folds works, as at least {2 + n_test} {by}s are needed"
    )
    where = "folds and a test set" if n_test else "folds beside the test set"
    count = "1 class has" if len(few) == 1 else f"{len(few)} classes have"
    raise UserError(
        f"{count} too few {by}s for {n_needed} {where}, which take {n_needed + n_test} {by}s of "
        f"every class: {', '.join(few)}; {advice}, or add {by}s to these classes or leave them out"
    )


def max_folds(classes: Names, y: Int64Array, g: Int64Array, *, n_test: int) -> tuple[int, str]:
    """The largest possible number of folds, with `n_test` groups of each class in the test set.

    Returns the number, and the class that limits it.
    """
    n_groups = (group_counts(y, g, n_classes=len(classes)) > 0).sum(axis=0)
    least = int(n_groups.argmin())
    return int(n_groups[least]) - n_test, f"'{classes[least]}' has {n_groups[least]}"


def require_test_classes(classes: Names, test_y: Int64Array) -> None:
    """Each class needs a track in the test set."""
    missing = [f"'{name}'" for c, name in enumerate(classes) if c not in test_y]
    if missing:
        raise UserError(
            f"the test set has no track of {join_first(missing)}, so it cannot be evaluated; "
            f"choose other groups with --split.test_groups, or leave the class out"
        )


def require_disjoint_groups(groups: Names, g: Int64Array, side: Int64Array) -> None:
    """No group may be on two sides; `side` (n,) is -1 for the test set, or the fold."""
    pairs = np.unique(np.stack([g, side]), axis=1)[0]
    double = [f"'{groups[n]}'" for n in np.flatnonzero(np.bincount(pairs) > 1)]
    if double:
        raise UserError(
            f"the official split has {len(double)} groups on two sides: {join_first(double)}; give "
            f"each group one side, or type --split.by track to use it with too optimistic scores"
        )


def require_train_classes(classes: Names, y: Int64Array, fold: Int64Array) -> None:
    """Each class needs a track in each fold's training part."""
    per_fold = group_counts(y, fold, n_classes=len(classes))  # (n_folds, n_classes)
    bad = np.argwhere(per_fold == per_fold.sum(axis=0))
    if len(bad):
        at, label = bad[0]
        raise UserError(
            f"fold {at} holds every development track of '{classes[label]}', so none is left to "
            f"train on; add groups to this class, or leave it out"
        )
