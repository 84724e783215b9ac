"""Group-disjoint split: a locked test set and cross-validation folds of the other tracks.

Every trial, ensemble and score downstream uses this one partition, which its hash identifies.
"""

from collections.abc import Collection
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from chorale.datasets.errors import UserError
from chorale.datasets.label_sets import LabelArray, class_names_of, track_labels
from chorale.datasets.splitting.feasibility import (
    Names,
    max_folds,
    require_disjoint_groups,
    require_enough_groups,
    require_test_classes,
    require_train_classes,
)
from chorale.datasets.splitting.group_split import draw_folds
from chorale.datasets.splitting.labels import scored_tracks
from chorale.datasets.splitting.partition import Split as Split
from chorale.datasets.splitting.rare_classes import MIN_FOLDS, fixed_test_tracks
from chorale.datasets.splitting.split_config import SplitConfig
from chorale.datasets.splitting.test_set import DRAWN, official_folds, select_test_set
from chorale.datasets.splitting.time_split import max_time_folds, split_by_time

if TYPE_CHECKING:
    import pandas as pd

SEARCH_FOLD = 0
"""The validation fold of the search, which trains on all others, or all before it in time."""

_TEST = -1


def feasible_folds(
    tracks: "pd.DataFrame", config: SplitConfig, *, n_folds: int, train_only: Collection[str] = ()
) -> tuple[int, str]:
    """The largest feasible number of folds up to `n_folds`; and why it is fewer, or "".

    The minimum is two folds; if these are not feasible either, `make_split` raises. Official folds
    are not changed. Classes, or labels, of `train_only` do not count.

    Source: fewer folds where a class has few rows as in Erickson et al. 2020, "AutoGluon-Tabular",
    arXiv:2003.06505; here by groups, so that each class is in each fold.
    """
    tracks = scored_tracks(tracks, train_only)
    if config.time:
        return _feasible_time_folds(tracks, config, n_folds=n_folds)
    if tracks["fold"].notna().any():
        return n_folds, ""
    in_test = fixed_test_tracks(tracks, config).to_numpy(dtype=bool)
    table = tracks[~in_test]
    owners = table["track_id"] if config.by == "track" else table["group"]
    classes, y = _classes_and_labels(table)
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


def _classes_and_labels(tracks: "pd.DataFrame") -> tuple[Names, LabelArray]:
    names = class_names_of(tracks["label"].astype(str))
    return np.array(names, dtype=str), track_labels(tracks, names)


def split_tracks(
    tracks: "pd.DataFrame",
    config: SplitConfig,
    *,
    n_folds: int,
    by: str | None = None,
    train_only: Collection[str] = (),
) -> tuple[Split, str]:
    """As `make_split`, with as many of the wanted folds as are feasible; why they are fewer, or "".

    Raises:
        UserError: as `make_split`.
    """
    most, fewer = feasible_folds(tracks, config, n_folds=n_folds, train_only=train_only)
    return make_split(tracks, config, n_folds=most, by=by, train_only=train_only), fewer


def make_split(
    tracks: "pd.DataFrame",
    config: SplitConfig,
    *,
    n_folds: int = 5,
    by: str | None = None,
    train_only: Collection[str] = (),
) -> Split:
    """Splits a track table into a locked test set and `n_folds` folds of all other tracks.

    An official test set (`split` is "test") is used unchanged, and so are official folds, whatever
    `n_folds` is; `test_groups` select the test set by name, `test_fold` by number; all other parts
    are drawn with the seed, stratified by class, or by label where tracks have several. The order
    of the table's rows does not matter. `by` is the split unit in the protocol text if it differs
    from the config (see `grouping.split_unit_text`). `train_only` are classes that are not scored:
    their tracks are in the training parts only, and in none where their group is in the test set.
    Tracks that have another label besides are split by that.

    Raises:
        UserError: there is one class only, a class has too few groups, a test group is unknown,
            an official part lacks a class or a row, or has a group on two sides.
    """
    if n_folds < 2:
        raise ValueError(f"a split needs two folds or more, but got {n_folds=}")
    if train_only:
        scored = scored_tracks(tracks, train_only)
        is_rest = ~tracks["track_id"].isin(scored["track_id"])
        made = make_split(scored, config, n_folds=n_folds, by=by)
        return _add_train_only(made, scored, tracks[is_rest], config)
    table = tracks.sort_values("track_id", ignore_index=True)
    owners = table["track_id"] if config.by == "track" else table["group"]
    classes, y = _classes_and_labels(table)
    groups, g = np.unique(owners.to_numpy(dtype=str), return_inverse=True)
    if len(classes) < 2:
        got = f"the one class '{classes[0]}'" if len(classes) else "no class at all"
        raise UserError(f"the tracks have {got}; a classifier needs two classes or more")
    if config.time:
        return split_by_time(table, y, g, classes=classes, n_folds=n_folds, config=config, by=by)
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


def _add_train_only(
    split: Split, scored: "pd.DataFrame", rest: "pd.DataFrame", config: SplitConfig
) -> Split:
    """The split with the tracks of `rest` to train on.

    Tracks of several labels that also have another one are in `scored`.

    A track whose group has tracks in a fold, or that the dataset itself puts there, is not trained
    on where that fold is validated. One whose group is in the test set, or that is later than all
    development tracks of a split by time, is in no part of the split.

    Args:
        split: of `scored`.
        scored: the tracks that are split.
        rest: the tracks that are only trained on.
        config: how `scored` was split.
    """
    owner = "track_id" if config.by == "track" else "group"
    side_of = {**dict.fromkeys(split.test_ids, _TEST), **split.fold_of, **split.train_only}
    sides = scored["track_id"].map(side_of)
    of_owner = dict(zip(scored[owner], sides, strict=True))
    in_folds = scored["fold"].notna()
    of_fold = dict(zip(scored["fold"][in_folds], sides[in_folds], strict=True))
    ends = scored["time"].groupby(sides).max()
    last = rest.groupby(owner)["time"].max()
    rest = rest.sort_values("track_id")
    columns = (rest["track_id"], rest[owner], rest["fold"], fixed_test_tracks(rest, config))
    found = {}
    for name, mine, fold, is_test in zip(*columns, strict=True):
        if mine in of_owner:
            side = of_owner[mine]
        elif is_test:
            side = _TEST
        elif split.by_time:
            blocks = [at for at in range(split.n_folds + 1) if ends.get(at, -inf) >= last[mine]]
            side = max(blocks, default=_TEST)
        else:
            side = of_fold.get(fold, split.n_folds)
        if side != _TEST:
            found[str(name)] = int(side)
    return replace(split, train_only={**split.train_only, **found})
