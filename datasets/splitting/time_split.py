"""Splits by time: the latest groups are the test set, and folds are validated on later tracks.

Forward chaining: the development groups are cut into one block more than there are folds, in the
order of time. The first block is only trained on; each of the others is validated by networks that
were trained on all blocks before it. `datasets.splitting.split` calls it and checks the result.

Source: Hyndman and Athanasopoulos 2021, "Forecasting: Principles and Practice", 3rd edition,
section 5.10, https://otexts.com/fpp3/tscv.html.
"""

import logging
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.errors import UserError, join_first
from chorale.datasets.label_sets import LabelArray
from chorale.datasets.splitting.feasibility import (
    Names,
    require_enough_time_groups,
    require_time_classes,
)
from chorale.datasets.splitting.group_split import Int64Array
from chorale.datasets.splitting.partition import Split
from chorale.datasets.splitting.split_config import SplitConfig

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger(__name__)

TEST_SIDE = -1


def split_by_time(
    table: "pd.DataFrame",
    y: LabelArray,
    g: Int64Array,
    *,
    classes: Names,
    n_folds: int,
    config: SplitConfig,
    by: str | None,
) -> Split:
    """The split of `make_split` with `config.time`; `y` and `g` are the rows' classes and groups.

    Raises:
        UserError: a track has no time, there are too few groups, or a class is not in the test set
            or not before the latest fold.
    """
    time = require_times(table, config)
    require_enough_time_groups(g, n_folds=n_folds, by=config.by)
    side = time_sides(time, g, share=config.test, n_folds=n_folds)
    is_test = side == TEST_SIDE
    require_time_classes(classes, y, side)
    if n_earlier := n_not_later(time, is_test):
        _log.warning(
            "%d of %d test tracks are earlier than the last development track: their %ss have "
            "later tracks", n_earlier, is_test.sum(), config.by,
        )  # fmt: skip
    ids = table["track_id"].to_numpy(dtype=str)
    first = side == n_folds
    folds = ~is_test & ~first
    unit = by or config.by
    return Split(
        test_ids=tuple(ids[is_test].tolist()),
        fold_of=dict(zip(ids[folds].tolist(), side[folds].tolist(), strict=True)),
        protocol=f"test the latest by {unit}, folds by time (forward chaining) by {unit}",
        n_folds=n_folds,
        seed=config.seed,
        train_only=dict.fromkeys(ids[first].tolist(), n_folds),
        by_time=True,
    )


def require_times(table: "pd.DataFrame", config: SplitConfig) -> NDArray[np.float64]:
    """The time (n,) of each row in seconds.

    Raises:
        UserError: a track has none, or the dataset or the config gives the split in another way.
    """
    problems = [
        f"{key} defines the test set" for key in ("test_groups", "test_fold")
        if getattr(config, key) not in ((), None)
    ]  # fmt: skip
    if (table["split"] == "test").any():
        problems.append("the dataset has an official test set")
    if table["fold"].notna().any():
        problems.append("the dataset has official folds")
    if problems:
        raise UserError(
            f"split.time makes the test set and the folds by time, but {' and '.join(problems)}; "
            f"remove split.time, or that"
        )
    time = table["time"]
    missing = table["track_id"][time.isna()]
    if len(missing):
        raise UserError(
            f"split.time: {len(missing)} of {len(table)} tracks have no time: "
            f"{join_first(map(repr, missing.tolist()))}; give each track its time, in a "
            f"column `time` of the manifest or in the column --dataset.time of a table, or remove "
            f"split.time"
        )
    return time.to_numpy(dtype=np.float64)


def max_time_folds(n_groups: int) -> int:
    """The largest number of folds by time: a group more is in the test set, and one before all."""
    return n_groups - 2


def time_sides(
    time: NDArray[np.float64], g: Int64Array, *, share: float, n_folds: int
) -> Int64Array:
    """The side (n,) of each row: -1 is the test set, 0 the latest fold, `n_folds` the first block.

    Whole groups are ordered by their last track. So no track of a fold's training part is later
    than the last track of any group that it is validated on; a group's earlier tracks may be.

    Args:
        time: of each row.
        g: the group of each row, counted from 0.
        share: of the rows in the test set, about.
        n_folds: how many blocks are validated; `max_time_folds` is the most.
    """
    last = np.full(int(g.max()) + 1, -np.inf)
    np.maximum.at(last, g, time)
    order = np.lexsort((np.arange(len(last)), last))
    ends = np.cumsum(np.bincount(g)[order])  # rows in the first groups of the order
    n_blocks = n_folds + 1

    def cut(target: float, low: int, high: int) -> int:
        """How many groups come before the cut that is nearest to `target` rows."""
        choices = np.arange(low, high + 1)
        return int(choices[np.abs(ends[choices - 1] - target).argmin()])

    n_before_test = cut((1 - share) * len(g), n_blocks, len(order) - 1)
    n_development = ends[n_before_test - 1]
    side_of = np.full(len(order), TEST_SIDE)
    start = 0
    for block in range(n_blocks):
        left = n_blocks - block - 1
        stop = n_before_test
        if left:
            target = (block + 1) * n_development / n_blocks
            stop = cut(target, start + 1, n_before_test - left)
        side_of[order[start:stop]] = n_folds - block
        start = stop
    return side_of[g]


def n_not_later(time: NDArray[np.float64], is_test: NDArray[np.bool_]) -> int:
    """How many test rows are not later than every other row."""
    return int((time[is_test] < time[~is_test].max()).sum())
