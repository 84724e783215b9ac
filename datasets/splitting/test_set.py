"""The test set and the folds as the dataset or the config gives them, or a drawn test set.

`datasets.splitting.split` calls it. Rows are given as labels `y`, (n,) or multi-label (n,
n_classes), and group numbers `g` (n,).
"""

import logging
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.errors import UserError, join_first, with_nearest
from chorale.datasets.label_sets import LabelArray
from chorale.datasets.splitting.feasibility import Names, require_enough_groups
from chorale.datasets.splitting.group_split import Int64Array, class_count, draw_test, group_counts
from chorale.datasets.splitting.rare_classes import MIN_FOLDS
from chorale.datasets.splitting.split_config import SplitConfig

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger(__name__)

DRAWN = "drawn"

MAX_TEST_DRAWS = 10
"""Draws of a test set beside official folds, until each class is left in two of them."""


def select_test_set(
    table: "pd.DataFrame",
    y: LabelArray,
    g: Int64Array,
    *,
    classes: Names,
    n_needed: int,
    config: SplitConfig,
) -> tuple[NDArray[np.bool_], str]:
    """The mask of the test rows, and how they were selected.

    Raises:
        UserError: what defines the test set contradicts itself, is unknown, or cannot be drawn.
    """
    official = (table["split"] == "test").to_numpy(dtype=bool)
    if official.any():
        if config.test_groups:
            raise UserError(
                f"the dataset has an official test set of {official.sum()} tracks, and "
                f"split.test_groups names another ({join_first(config.test_groups)}); remove "
                f"split.test_groups"
            )
        if table["split"].isna().any():
            raise UserError(
                f"{table['split'].isna().sum()} tracks have no official split, such as "
                f"'{table['track_id'][table['split'].isna()].iloc[0]}'; give each train, valid or "
                f"test, or none of them"
            )
        return official, "official"
    if config.test_fold is not None:
        return _official_fold(table["fold"], config), f"official fold {config.test_fold}"
    if config.test_groups:
        return _named(table["group"], config.test_groups), "named"
    require_enough_groups(classes, y, g, n_needed=n_needed, n_test=1, by=config.by)
    drawn = _drawn(table["fold"], y, g, n_needed=n_needed, config=config)
    if drawn is None:
        raise UserError(
            "no test set of whole groups was found that has every class and leaves enough groups "
            "for the folds; name groups with --split.test_groups '[GROUP, ...]', or type "
            "--finalists.folds 2"
        )
    got = float(drawn.mean())
    if abs(got - config.test) > config.test / 3:
        _log.warning(
            "the test set has %.0f %% of the tracks instead of %.0f %%: it consists of whole %ss, "
            "and %d folds need %d of each class",
            100 * got,
            100 * config.test,
            config.by,
            n_needed,
            n_needed,
        )
    return drawn, DRAWN


def _drawn(
    fold: "pd.Series[int]", y: LabelArray, g: Int64Array, *, n_needed: int, config: SplitConfig
) -> NDArray[np.bool_] | None:
    """A drawn test set; beside official folds one that leaves each class in two of them."""
    first = draw_test(y, g, share=config.test, keep=n_needed, seed=config.seed)
    if first is None or fold.isna().any():
        return first
    _, at = np.unique(fold.to_numpy(dtype=np.int64), return_inverse=True)
    n_classes = class_count(y)
    for draw in range(MAX_TEST_DRAWS):
        seed = config.seed + draw
        drawn = draw_test(y, g, share=config.test, keep=n_needed, seed=seed)
        if drawn is None:
            continue
        left = group_counts(y[~drawn], at[~drawn], n_classes=n_classes)  # (n_folds, n_classes)
        if ((left > 0).sum(axis=0) >= MIN_FOLDS).all():
            return drawn
    return first  # the caller names the classes that are in one fold only


def _official_fold(fold: "pd.Series[int]", config: SplitConfig) -> NDArray[np.bool_]:
    if config.test_groups:
        raise UserError(
            f"split.test_fold={config.test_fold} and split.test_groups "
            f"({join_first(config.test_groups)}) both define the test set; remove one of them"
        )
    numbers = sorted(fold.dropna().unique())
    if config.test_fold not in numbers:
        there = (
            f"official folds {join_first(map(str, numbers))}" if numbers else "no official folds"
        )
        raise UserError(
            f"split.test_fold={config.test_fold} is not there: the dataset has {there}; "
            f"take one of them, or leave split.test_fold out"
        )
    return (fold == config.test_fold).fillna(False).to_numpy(dtype=bool)


def _named(group: "pd.Series[str]", wanted: tuple[str, ...]) -> NDArray[np.bool_]:
    known = sorted(set(group))
    unknown = [name for name in wanted if name not in known]
    if unknown:
        hints = join_first(with_nearest(unknown, known))
        raise UserError(
            f"split.test_groups: unknown {hints}; the {len(known)} groups are {join_first(known)}"
        )
    return group.isin(wanted).to_numpy(dtype=bool)


def official_folds(table: "pd.DataFrame") -> Int64Array:
    """The official fold (n,) of each development track, renumbered from 0 without gaps.

    Raises:
        UserError: a track has none, or all are in one.
    """
    fold = table["fold"]
    if fold.isna().any():
        first = join_first(f"'{name}'" for name in table["track_id"][fold.isna()])
        raise UserError(
            f"{fold.isna().sum()} of {len(fold)} development tracks have no official fold and the "
            f"others have one, such as {first}; give each of them a fold, or none: with folds for "
            f"none, --finalists.folds says how many are drawn"
        )
    numbers, renumbered = np.unique(fold.to_numpy(dtype=np.int64), return_inverse=True)
    if len(numbers) < 2:
        raise UserError(f"all development tracks are in the one official fold {numbers[0]}")
    return renumbered.astype(np.int64)
