"""Says why a split cannot be made or used, before anything is trained on it.

`datasets.splitting.split` asks here. Rows are given as class numbers `y` (n,) and group numbers `g`
(n,); each function returns where all is well and raises `UserError` where not.
"""

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.errors import UserError, shown
from chorale.datasets.splitting.group_split import Ints, group_counts

Names = NDArray[np.str_]


def refuse_few_groups(
    classes: Names, y: Ints, g: Ints, *, n_needed: int, n_test: int, by: str
) -> None:
    """Each class needs a group in each of the `n_needed` folds, and `n_test` groups more.

    `by` is what the groups are in the user's words: "group" or "track".
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
        else f"no number of folds would do, as {2 + n_test} {by}s are the least"
    )
    where = "folds and a test set" if n_test else "folds beside the test set"
    count = "1 class has" if len(few) == 1 else f"{len(few)} classes have"
    raise UserError(
        f"{count} too few {by}s for {n_needed} {where}, which take {n_needed + n_test} {by}s of "
        f"every class: {', '.join(few)}; {advice}, or add {by}s to these classes or leave them out"
    )


def most_folds(classes: Names, y: Ints, g: Ints, *, n_test: int) -> tuple[int, str]:
    """Into how many folds the rows can be cut, with `n_test` groups of each class locked away.

    Gives the number, and the class that allows no more.
    """
    n_groups = (group_counts(y, g, n_classes=len(classes)) > 0).sum(axis=0)
    least = int(n_groups.argmin())
    return int(n_groups[least]) - n_test, f"'{classes[least]}' has {n_groups[least]}"


def refuse_missing_classes(classes: Names, test_y: Ints) -> None:
    """Each class needs a track in the test set."""
    missing = [f"'{name}'" for c, name in enumerate(classes) if c not in test_y]
    if missing:
        raise UserError(
            f"the test set has no track of {shown(missing)}, so nothing could be said of it; lock "
            f"other groups away with --split.test_groups, or leave the class out"
        )


def refuse_two_sides(groups: Names, g: Ints, side: Ints) -> None:
    """No group may be on two sides; `side` (n,) is -1 for the test set, or the fold."""
    pairs = np.unique(np.stack([g, side]), axis=1)[0]
    double = [f"'{groups[n]}'" for n in np.flatnonzero(np.bincount(pairs) > 1)]
    if double:
        raise UserError(
            f"the official split has {len(double)} groups on two sides: {shown(double)}; give each "
            f"group one side, or type --split.by track to use it although it claims too much"
        )


def refuse_untrained_classes(classes: Names, y: Ints, fold: Ints) -> None:
    """Each class needs a track in each fold's training part."""
    per_fold = group_counts(y, fold, n_classes=len(classes))  # (n_folds, n_classes)
    bad = np.argwhere(per_fold == per_fold.sum(axis=0))
    if len(bad):
        at, label = bad[0]
        raise UserError(
            f"fold {at} holds every development track of '{classes[label]}', so none is left to "
            f"train on; add groups to this class, or leave it out"
        )
