"""Rare classes of a track table: those that cannot be in the test set and be cross-validated.

`datasets.splitting.labels` leaves them out or merges them before the split is made.
"""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chorale.datasets.label_sets import class_names_of, indicator_matrix, one_row_per_label
from chorale.datasets.splitting.split_config import SplitConfig

if TYPE_CHECKING:
    import pandas as pd

MIN_FOLDS = 2
"""Folds are lowered to this number before a class is rare."""


@dataclass(frozen=True)
class RareClass:
    """One rare class, and why it is: "has 1 group"."""

    label: str
    n_tracks: int
    n_groups: int
    why: str


def find_rare_classes(
    tracks: "pd.DataFrame",
    split: SplitConfig,
    *,
    min_groups: int | None = None,
    n_folds: int = MIN_FOLDS,
) -> list[RareClass]:
    """The classes that two folds and the test set cannot have, by name; and those of few groups.

    In a split by time: those that are not in the test set, or not before the latest fold.

    Args:
        tracks: the track table.
        split: how it will be split; by track, tracks are counted instead of groups.
        min_groups: classes with fewer groups are rare, too.
        n_folds: how many folds a split by time will have, if there are enough groups.
    """
    if split.time:
        return _rare_in_time(tracks, split, min_groups=min_groups or 0, n_folds=n_folds)
    tracks = one_row_per_label(tracks)
    test = fixed_test_tracks(tracks, split)
    table = tracks.assign(owner=tracks["track_id" if split.by == "track" else "group"])
    n_groups = table.groupby("label")["owner"].nunique()
    n_beside = table[~test].groupby("label")["owner"].nunique()
    n_in_folds = table[~test].groupby("label")["fold"].nunique()
    n_test = table[test]["label"].value_counts()
    has_test, has_folds = bool(test.any()), bool(tracks["fold"].notna().any())
    found = []
    for name, n_tracks in Counter(sorted(tracks["label"])).items():
        n = int(n_groups[name])
        beside, in_folds = int(n_beside.get(name, 0)), int(n_in_folds.get(name, 0))
        why = ""
        if n < max(min_groups or 0, MIN_FOLDS + 1 - has_test):
            why = f"has {_counted(n, split.by)}"
        elif has_test and not n_test.get(name, 0):
            why = "is not in the test set"
        elif has_test and beside < MIN_FOLDS:
            why = f"has {_counted(beside, split.by)} beside the test set"
        elif has_folds and in_folds < MIN_FOLDS:
            why = "is in one fold only"
        if why:
            found.append(RareClass(name, n_tracks, n, why))
    return found


def _rare_in_time(
    tracks: "pd.DataFrame", split: SplitConfig, *, min_groups: int, n_folds: int
) -> list[RareClass]:
    import numpy as np

    from chorale.datasets.splitting.time_split import TEST_SIDE, max_time_folds, time_sides

    owners = tracks["track_id" if split.by == "track" else "group"].to_numpy(dtype=str)
    groups, g = np.unique(owners, return_inverse=True)
    n_folds = min(n_folds, max_time_folds(len(groups)))
    if n_folds < MIN_FOLDS or tracks["time"].isna().any():
        return []  # then it cannot be split by time at all
    time = tracks["time"].to_numpy(dtype=np.float64)
    side = time_sides(time, g, share=split.test, n_folds=n_folds)
    texts = tracks["label"].astype(str).tolist()
    names = class_names_of(texts)
    found = []
    for name, mine in zip(names, indicator_matrix(texts, names).T, strict=True):
        n = len(set(owners[mine]))
        why = ""
        if n < min_groups:
            why = f"has {_counted(n, split.by)}"
        elif not (side[mine] == TEST_SIDE).any():
            why = "is not in the test set"
        elif not (side[mine] > 0).any():
            why = "is not before the latest fold"
        if why:
            found.append(RareClass(name, int(mine.sum()), n, why))
    return found


def fixed_test_tracks(tracks: "pd.DataFrame", split: SplitConfig) -> "pd.Series[bool]":
    """A mask of the tracks that are in the test set whatever is drawn; all False if it is drawn."""
    mask = tracks["split"] == "test"
    mask |= tracks["group"].isin(split.test_groups)
    if split.test_fold is not None:
        mask |= (tracks["fold"] == split.test_fold).fillna(False).astype(bool)
    return mask.astype(bool)


def _counted(n: int, what: str) -> str:
    return f"1 {what}" if n == 1 else f"{n} {what}s"
