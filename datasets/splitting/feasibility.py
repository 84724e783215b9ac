"""Feasibility checks of a split: too few groups of a class, a group or a class misplaced.

`datasets.splitting.split` calls them before anything is trained. Rows are given as labels `y`, (n,)
or multi-label (n, n_classes), and group numbers `g` (n,). Each check raises `UserError` if it
fails.
"""

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.errors import UserError, join_first
from chorale.datasets.label_sets import LabelArray
from chorale.datasets.splitting.group_split import Int64Array, group_counts, rows_of_class
from chorale.datasets.splitting.rare_classes import MIN_FOLDS

Names = NDArray[np.str_]

MAX_CLASSES = 20
"""Classes of few groups that an error lists; `chorale data check` lists all."""


def require_enough_groups(
    classes: Names, y: LabelArray, g: Int64Array, *, n_needed: int, n_test: int, by: str
) -> None:
    """Each class needs a group in each of the `n_needed` folds, and `n_test` groups more.

    `by` is what the groups are, for the error: "group" or "track".
    """
    n_groups = (group_counts(y, g, n_classes=len(classes)) > 0).sum(axis=0)
    if not (n_groups < n_needed + n_test).any():
        return
    largest = int(n_groups.min()) - n_test
    if largest < MIN_FOLDS:  # then only these classes are the problem: folds can be lowered
        n_needed = MIN_FOLDS
    few = np.flatnonzero(n_groups < n_needed + n_test)
    listed = join_first((f"'{classes[c]}' has {n_groups[c]}" for c in few), most=MAX_CLASSES)
    advice = f"type --finalists.folds {largest}"
    if largest < MIN_FOLDS:
        advice = f"no number of folds works, as at least {MIN_FOLDS + n_test} {by}s are needed: "
        advice += _rare_advice(
            few, y, g, n_needed=MIN_FOLDS + n_test, by=by, n_classes=len(classes)
        )
    where = "folds and a test set" if n_test else "folds beside the test set"
    count = "1 class has" if len(few) == 1 else f"{len(few)} classes have"
    raise UserError(
        f"{count} too few {by}s for {n_needed} {where}, which take {n_needed + n_test} {by}s of "
        f"every class: {listed}; {advice}, or add {by}s to "
        f"{'it' if len(few) == 1 else 'these classes'}"
    )


def _rare_advice(
    few: Int64Array, y: LabelArray, g: Int64Array, *, n_needed: int, by: str, n_classes: int
) -> str:
    """What to type where the classes `few` cannot be in two folds and the test set."""
    rows = np.any([rows_of_class(y, c) for c in few], axis=0)
    n, n_tracks = len(few), int(rows.sum())
    them = "it" if n == 1 else "them"
    if y.ndim == 2:
        return (
            f"leave {them} out with --labels.rare leave_out ({n} of {n_classes} labels, of "
            f"{n_tracks} of {len(y)} tracks), learn {them} without scores with --labels.rare "
            f"train_only"
        )
    advice = (
        f"leave {them} out with --labels.rare leave_out ({n} of {n_classes} classes, {n_tracks} of "
        f"{len(y)} tracks)"
    )
    if n > 1 and len(np.unique(g[rows])) >= n_needed:
        advice += f", merge {them} into one class with --labels.rare merge"
    advice += f", learn {them} without scores with --labels.rare train_only"
    if by == "group" and all((y == c).sum() >= n_needed and len(set(g[y == c])) == 1 for c in few):
        advice += f", split {them} by track with --audit.accept '[few_groups]' (too optimistic)"
    return advice


def max_folds(classes: Names, y: LabelArray, g: Int64Array, *, n_test: int) -> tuple[int, str]:
    """The largest possible number of folds, with `n_test` groups of each class in the test set.

    Returns the number, and the class that limits it.
    """
    n_groups = (group_counts(y, g, n_classes=len(classes)) > 0).sum(axis=0)
    least = int(n_groups.argmin())
    return int(n_groups[least]) - n_test, f"'{classes[least]}' has {n_groups[least]}"


def require_test_classes(classes: Names, test_y: LabelArray) -> None:
    """Each class needs a track in the test set."""
    missing = [f"'{n}'" for c, n in enumerate(classes) if not rows_of_class(test_y, c).any()]
    if missing:
        raise UserError(
            f"the test set has no track of {join_first(missing)}, so it cannot be evaluated; "
            f"choose other groups with --split.test_groups, or leave these classes out with "
            f"--labels.rare leave_out"
        )


def require_enough_time_groups(g: Int64Array, *, n_folds: int, by: str) -> None:
    """A split by time needs a group in each fold, one before all folds, and one in the test set."""
    n_groups = len(np.unique(g))
    if n_groups < n_folds + 2:
        raise UserError(
            f"split.time: {n_folds} folds, the tracks before them and the test set take "
            f"{n_folds + 2} {by}s or more, but there are {n_groups}; type --finalists.folds 2, add "
            f"{by}s, or remove split.time"
        )


def require_time_classes(classes: Names, y: LabelArray, side: Int64Array) -> None:
    """Each class needs a track in the test set (-1), and one before the latest fold (0)."""
    problems = []
    for where, mask in (("in the test set", side < 0), ("before the latest fold", side > 0)):
        missing = [f"'{n}'" for c, n in enumerate(classes) if not rows_of_class(y[mask], c).any()]
        if missing:
            problems.append(f"{where} of {join_first(missing, most=MAX_CLASSES)}")
    if problems:
        raise UserError(
            f"split.time: there is no track {' and none '.join(problems)}; leave these classes out "
            f"with --labels.rare leave_out, or give the test set another share with --split.test"
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


def require_train_classes(classes: Names, y: LabelArray, fold: Int64Array) -> None:
    """Each class needs a track in each fold's training part."""
    per_fold = group_counts(y, fold, n_classes=len(classes))  # (n_folds, n_classes)
    bad = np.argwhere(per_fold == per_fold.sum(axis=0))
    if len(bad):
        every = join_first(
            (f"fold {at} holds every development track of '{classes[label]}'" for at, label in bad),
            most=MAX_CLASSES,
        )
        raise UserError(
            f"{every}, so none is left to train on; spread their groups over two folds or more, or "
            f"leave these classes out with --labels.rare leave_out"
        )
