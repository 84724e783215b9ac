"""Group-disjoint split: a locked test set and cross-validation folds of the other tracks.

Every trial, ensemble and score downstream uses this one partition, which its hash identifies.
"""

import difflib
import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.errors import UserError, join_first
from chorale.datasets.splitting.feasibility import (
    max_folds,
    require_disjoint_groups,
    require_enough_groups,
    require_test_classes,
    require_train_classes,
)
from chorale.datasets.splitting.group_split import Int64Array, draw_folds, draw_test
from chorale.datasets.splitting.rare_classes import fixed_test_tracks
from chorale.datasets.splitting.split_config import SplitConfig

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger(__name__)

DRAWN = "drawn"

SEARCH_FOLD = 0
"""The validation fold of the search, which trains on all others."""


@dataclass(frozen=True)
class Split:
    """The test tracks, and the fold of each development track.

    `test_ids` are sorted; `fold_of` maps each development track, sorted, to 0 .. `n_folds` - 1;
    `protocol` describes how the test set and the folds were made.
    """

    test_ids: tuple[str, ...]
    fold_of: Mapping[str, int] = field(hash=False)
    protocol: str
    n_folds: int
    seed: int

    def __post_init__(self) -> None:
        if set(self.test_ids) & set(self.fold_of):
            raise ValueError("a track is both in the test set and in a fold")
        if set(self.fold_of.values()) != set(range(self.n_folds)):
            raise ValueError(f"the folds must be 0 to {self.n_folds - 1}, none of them empty")

    @property
    def hash(self) -> str:
        """SHA-256, in hexadecimal, of the partition: equal for equal partitions, however drawn."""
        content = {"test": sorted(self.test_ids), "folds": sorted(self.fold_of.items())}
        text = json.dumps(content, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def development_ids(self) -> tuple[str, ...]:
        """All tracks outside the test set, in the order of `fold_of`."""
        return tuple(self.fold_of)

    def train_ids(self, fold: int) -> tuple[str, ...]:
        """The development tracks outside of `fold`."""
        self._check(fold)
        return tuple(name for name, at in self.fold_of.items() if at != fold)

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
    official_folds = bool(table["fold"].notna().any())
    n_needed = 2 if official_folds else n_folds
    is_test, test_by = _test_set(table, y, g, classes=classes, n_needed=n_needed, config=config)
    by = by or config.by
    if test_by == DRAWN:
        test_by = f"by {by}"
    require_test_classes(classes, y[is_test])
    dev_y, dev_g = y[~is_test], g[~is_test]
    require_enough_groups(classes, dev_y, dev_g, n_needed=n_needed, n_test=0, by=config.by)
    if official_folds:
        fold, folds_by = _official_folds(table["fold"][~is_test]), "official"
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


def _test_set(
    table: "pd.DataFrame",
    y: Int64Array,
    g: Int64Array,
    *,
    classes: NDArray[np.str_],
    n_needed: int,
    config: SplitConfig,
) -> tuple[NDArray[np.bool_], str]:
    """The mask of the test rows, and how they were selected."""
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
    drawn = draw_test(y, g, share=config.test, keep=n_needed, seed=config.seed)
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
        hints = []
        for name in unknown:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hints.append(f"'{name}'" + (f" (did you mean '{near[0]}'?)" if near else ""))
        raise UserError(
            f"split.test_groups: unknown {join_first(hints)}; the {len(known)} groups are "
            f"{join_first(known)}"
        )
    return group.isin(wanted).to_numpy(dtype=bool)


def _official_folds(fold: "pd.Series[int]") -> Int64Array:
    if fold.isna().any():
        raise UserError(
            f"{fold.isna().sum()} development tracks have no official fold and the others have "
            f"one; give each of them a fold, or none"
        )
    numbers, renumbered = np.unique(fold.to_numpy(dtype=np.int64), return_inverse=True)
    if len(numbers) < 2:
        raise UserError(f"all development tracks are in the one official fold {numbers[0]}")
    return renumbered.astype(np.int64)
