"""Group-disjoint split: a locked test set and cross-validation folds of the other tracks.

Every trial, ensemble and score downstream uses this one partition, which its hash identifies.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.errors import UserError
from chorale.datasets.splitting.feasibility import (
    max_folds,
    require_disjoint_groups,
    require_enough_groups,
    require_enough_time_groups,
    require_test_classes,
    require_time_classes,
    require_train_classes,
)
from chorale.datasets.splitting.group_split import Int64Array, draw_folds
from chorale.datasets.splitting.rare_classes import MIN_FOLDS, fixed_test_tracks
from chorale.datasets.splitting.split_config import SplitConfig
from chorale.datasets.splitting.test_set import DRAWN, official_folds, select_test_set
from chorale.datasets.splitting.time_split import (
    TEST_SIDE,
    max_time_folds,
    n_not_later,
    require_times,
    time_sides,
)

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger(__name__)

SEARCH_FOLD = 0
"""The validation fold of the search, which trains on all others."""


@dataclass(frozen=True)
class Split:
    """The test tracks, and the fold of each development track.

    `test_ids` are sorted; `fold_of` maps each development track, sorted, to 0 .. `n_folds` - 1;
    `protocol` describes how the test set and the folds were made.

    `train_only` tracks are trained on and never predicted: it maps each to the fold whose networks
    must not be trained on it, as it has tracks of the same group, or to `n_folds`. In a split
    `by_time` fold 0 is the latest: its networks are trained on all tracks of higher numbers.
    """

    test_ids: tuple[str, ...]
    fold_of: Mapping[str, int] = field(hash=False)
    protocol: str
    n_folds: int
    seed: int
    train_only: Mapping[str, int] = field(default_factory=dict, hash=False)
    by_time: bool = False

    def __post_init__(self) -> None:
        if set(self.test_ids) & {*self.fold_of, *self.train_only}:
            raise ValueError("a track is both in the test set and in a fold")
        if set(self.fold_of) & set(self.train_only):
            raise ValueError("a track is both validated and only trained on")
        if not set(self.train_only.values()) <= set(range(self.n_folds + 1)):
            raise ValueError(f"the folds of train_only must be 0 to {self.n_folds}")
        if self.by_time and self.n_folds not in self.train_only.values():
            raise ValueError("a split by time needs tracks before its first fold")
        if set(self.fold_of.values()) != set(range(self.n_folds)):
            raise ValueError(f"the folds must be 0 to {self.n_folds - 1}, none of them empty")

    @property
    def hash(self) -> str:
        """SHA-256, in hexadecimal, of the partition: equal for equal partitions, however drawn."""
        content: dict[str, Any] = {
            "test": sorted(self.test_ids),
            "folds": sorted(self.fold_of.items()),
        }
        if self.train_only:
            content |= {"train_only": sorted(self.train_only.items()), "by_time": self.by_time}
        text = json.dumps(content, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def development_ids(self) -> tuple[str, ...]:
        """The tracks of all folds, which networks predict out of fold, in `fold_of`'s order."""
        return tuple(self.fold_of)

    @property
    def trained_ids(self) -> tuple[str, ...]:
        """All tracks that a model of the whole development set is trained on: `development_ids`
        and then `train_only`.
        """
        return (*self.fold_of, *self.train_only)

    def train_ids(self, fold: int) -> tuple[str, ...]:
        """The tracks that networks validated on `fold` are trained on.

        All outside of it; in a split by time, those before it.
        """
        self._check(fold)
        every = {**self.fold_of, **self.train_only}
        return tuple(
            name for name, at in every.items() if (at > fold if self.by_time else at != fold)
        )

    def valid_ids(self, fold: int) -> tuple[str, ...]:
        """The development tracks in `fold`."""
        self._check(fold)
        return tuple(name for name, at in self.fold_of.items() if at == fold)

    def _check(self, fold: int) -> None:
        if fold not in range(self.n_folds):
            raise ValueError(f"fold must be 0 to {self.n_folds - 1}, but got {fold=}")

    def to_json(self) -> dict[str, Any]:
        """The split as JSON values; `from_json` reads them back."""
        return {
            "protocol": self.protocol,
            "n_folds": self.n_folds,
            "seed": self.seed,
            "hash": self.hash,
            "test_ids": list(self.test_ids),
            "fold_of": dict(self.fold_of),
            "train_only": dict(self.train_only),
            "by_time": self.by_time,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Split":
        """The split from the result of `to_json`.

        Raises:
            UserError: `content` is no split, or was changed since it was written.
        """
        try:
            values = {name: value for name, value in content.items() if name != "hash"}
            split = cls(**{**values, "test_ids": tuple(content["test_ids"])})
            expected, got = content["hash"], split.hash
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"this is not a split that Chorale wrote ({error}); start a study of another name"
            ) from None
        if got != expected:
            raise UserError(
                f"the split's stored hash is {str(expected)[:12]}, but its content's hash is "
                f"{got[:12]}: it was changed by hand; restore the file, or start a study of "
                f"another name"
            )
        return split


def feasible_folds(tracks: "pd.DataFrame", config: SplitConfig, *, n_folds: int) -> tuple[int, str]:
    """The largest feasible number of folds up to `n_folds`; and why it is fewer, or "".

    The minimum is two folds; if these are not feasible either, `make_split` raises. Official folds
    are not changed.

    Source: fewer folds where a class has few rows as in Erickson et al. 2020, "AutoGluon-Tabular",
    arXiv:2003.06505; here by groups, so that each class is in each fold.
    """
    if config.time:
        return _feasible_time_folds(tracks, config, n_folds=n_folds)
    if tracks["fold"].notna().any():
        return n_folds, ""
    in_test = fixed_test_tracks(tracks, config).to_numpy(dtype=bool)
    table = tracks[~in_test]
    owners = table["track_id"] if config.by == "track" else table["group"]
    classes, y = np.unique(table["label"].to_numpy(dtype=str), return_inverse=True)
    _, g = np.unique(owners.to_numpy(dtype=str), return_inverse=True)
    if not len(classes):
        return n_folds, ""
    most, why = max_folds(classes, y, g, n_test=0 if in_test.any() else 1)
    if most >= n_folds or most < 2:
        return n_folds, ""
    return most, f"{most} folds instead of {n_folds}: {why} {config.by}s"


def _feasible_time_folds(
    tracks: "pd.DataFrame", config: SplitConfig, *, n_folds: int
) -> tuple[int, str]:
    n_groups = tracks["track_id" if config.by == "track" else "group"].nunique()
    most = max_time_folds(n_groups)
    if most >= n_folds or most < MIN_FOLDS:
        return n_folds, ""
    return most, f"{most} folds instead of {n_folds}: there are {n_groups} {config.by}s"


def make_split(
    tracks: "pd.DataFrame", config: SplitConfig, *, n_folds: int = 5, by: str | None = None
) -> Split:
    """Splits a track table into a locked test set and `n_folds` folds of all other tracks.

    An official test set (`split` is "test") is used unchanged, and so are official folds, whatever
    `n_folds` is; `test_groups` select the test set by name, `test_fold` by number; all other parts
    are drawn with the seed, stratified by class. The order of the table's rows does not matter.
    `by` is the split unit in the protocol text if it differs from the config (see
    `grouping.split_unit_text`).

    Raises:
        UserError: there is one class only, a class has too few groups, a test group is unknown,
            an official part lacks a class or a row, or has a group on two sides.
    """
    if n_folds < 2:
        raise ValueError(f"a split needs two folds or more, but got {n_folds=}")
    table = tracks.sort_values("track_id", ignore_index=True)
    owners = table["track_id"] if config.by == "track" else table["group"]
    classes, y = np.unique(table["label"].to_numpy(dtype=str), return_inverse=True)
    groups, g = np.unique(owners.to_numpy(dtype=str), return_inverse=True)
    if len(classes) < 2:
        got = f"the one class '{classes[0]}'" if len(classes) else "no class at all"
        raise UserError(f"the tracks have {got}; a classifier needs two classes or more")
    if config.time:
        return _split_by_time(table, y, g, classes=classes, n_folds=n_folds, config=config, by=by)
    has_folds = bool(table["fold"].notna().any())
    n_needed = 2 if has_folds else n_folds
    is_test, test_by = select_test_set(
        table, y, g, classes=classes, n_needed=n_needed, config=config
    )
    by = by or config.by
    if test_by == DRAWN:
        test_by = f"by {by}"
    require_test_classes(classes, y[is_test])
    dev_y, dev_g = y[~is_test], g[~is_test]
    require_enough_groups(classes, dev_y, dev_g, n_needed=n_needed, n_test=0, by=config.by)
    if has_folds:
        fold, folds_by = official_folds(table[~is_test]), "official"
    else:
        fold = draw_folds(dev_y, dev_g, n_folds=n_folds, seed=config.seed)
        folds_by = f"by {by}"
    side = np.full(len(table), -1)
    side[~is_test] = fold
    require_disjoint_groups(groups, g, side)
    require_train_classes(classes, dev_y, fold)
    ids = table["track_id"].to_numpy(dtype=str)
    return Split(
        test_ids=tuple(ids[is_test].tolist()),
        fold_of=dict(zip(ids[~is_test].tolist(), fold.tolist(), strict=True)),
        protocol=f"test {test_by}, folds {folds_by}",
        n_folds=int(fold.max()) + 1,
        seed=config.seed,
    )


def _split_by_time(
    table: "pd.DataFrame",
    y: Int64Array,
    g: Int64Array,
    *,
    classes: NDArray[np.str_],
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
