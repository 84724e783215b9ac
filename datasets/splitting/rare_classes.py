"""Rare classes of a track table: those that cannot be in the test set and be cross-validated.

`search.data` leaves them out, merges or refuses them when the tracks are read, and again after the
audit, which can make classes rare. Groups are counted as the split counts them: tracks where it is
by track.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from chorale.datasets.errors import UserError, join_first
from chorale.datasets.label_sets import (
    class_names_of,
    has_several_labels,
    indicator_matrix,
    one_row_per_label,
)
from chorale.datasets.splitting.labels import (
    LabelChanges,
    relabelled,
    scored_tracks,
    track_counts,
    tracks_text,
)
from chorale.datasets.splitting.labels_config import MERGED_CLASS, LabelsConfig
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


def change_rare_classes(
    tracks: "pd.DataFrame",
    config: LabelsConfig,
    split: SplitConfig,
    *,
    n_folds: int,
    train_only: Collection[str] = (),
) -> "tuple[pd.DataFrame, LabelChanges]":
    """Leaves out or merges the rare classes as `config.rare` says; `refuse` changes nothing.

    `n_folds` is how many folds are wanted; `train_only` are classes that are known not to be
    scored. Where fewer tracks move the cuts of a split by time, the classes that are rare then are
    changed, too.
    """
    if config.rare == "refuse":
        return tracks, LabelChanges()
    if config.rare == "train_only":
        scored = scored_tracks(tracks, train_only)
        left_out = replace(config, rare="leave_out")
        _, changes = change_rare_classes(scored, left_out, split, n_folds=n_folds)
        return tracks, LabelChanges(train_only=changes.left_out)
    table, changes = _change_once(tracks, config, split, n_folds=n_folds)
    if not split.time or changes == LabelChanges():
        return table, changes
    table, more = change_rare_classes(table, config, split, n_folds=n_folds)
    return table, changes.then(more)


def _change_once(
    tracks: "pd.DataFrame", config: LabelsConfig, split: SplitConfig, *, n_folds: int
) -> "tuple[pd.DataFrame, LabelChanges]":
    found = find_rare_classes(tracks, split, min_groups=config.min_groups, n_folds=n_folds)
    rare = [one.label for one in found]
    if not rare:
        return tracks, LabelChanges()
    counts = track_counts(tracks, rare)
    if config.rare == "leave_out":
        return relabelled(tracks, rare, {}), LabelChanges(counts)
    merged = [name for name in rare if name != MERGED_CLASS]
    if not merged:
        return tracks, LabelChanges()
    changes = LabelChanges(merged={MERGED_CLASS: {name: counts[name] for name in merged}})
    return relabelled(tracks, (), dict.fromkeys(merged, MERGED_CLASS)), changes


def refuse_rare_classes(
    tracks: "pd.DataFrame",
    config: LabelsConfig,
    split: SplitConfig,
    *,
    n_folds: int,
    accept: Collection[str] = (),
) -> None:
    """Refuses classes with fewer than `min_groups` groups, where `rare` is refuse.

    Without `min_groups` the split itself refuses classes that it cannot place. Labels of one group
    are refused, too, where `accept` has few_groups and tracks have several: their tracks cannot be
    split one by one without other labels of the group being on both sides.

    Raises:
        UserError: names them, and what to type.
    """
    if config.rare != "refuse":
        return
    if split.by == "group" and "few_groups" in accept and has_several_labels(tracks):
        _refuse_labels_of_one_group(tracks, split, n_folds=n_folds)
    if config.min_groups is None:
        return
    rare = find_rare_classes(tracks, split, min_groups=config.min_groups, n_folds=n_folds)
    if rare:
        n = "1 class is" if len(rare) == 1 else f"{len(rare)} classes are"
        raise UserError(
            f"labels: {n} rare, with labels.min_groups={config.min_groups}: "
            f"{listed_rare_classes(rare)}; {rare_advice(rare)}, or lower --labels.min_groups"
        )


def _refuse_labels_of_one_group(
    tracks: "pd.DataFrame", split: SplitConfig, *, n_folds: int
) -> None:
    rare = find_rare_classes(tracks, split, n_folds=n_folds)
    if single := [one for one in rare if one.n_groups == 1 < one.n_tracks]:
        named = join_first(f"'{one.label}' ({tracks_text(one.n_tracks)})" for one in single)
        labels = "1 label is" if len(single) == 1 else f"{len(single)} labels are"
        raise UserError(
            f"audit.accept few_groups: {labels} of one group, {named}, whose tracks have other "
            f"labels, too: split one by one, they would make the score of every label too "
            f"optimistic; type --labels.rare train_only or --labels.rare leave_out, or --split.by "
            f"track to accept that for all tracks"
        )


def listed_rare_classes(rare: Collection[RareClass]) -> str:
    """The first rare classes with their reasons."""
    return join_first(f"'{one.label}' {one.why}" for one in rare)


def rare_advice(rare: Collection[RareClass]) -> str:
    """What to type about rare classes."""
    n_tracks = sum(one.n_tracks for one in rare)
    classes = "1 class" if len(rare) == 1 else f"{len(rare)} classes"
    return (
        f"type --labels.rare leave_out (leaves out {classes} with {tracks_text(n_tracks)}), "
        f"--labels.rare merge (merges them into '{MERGED_CLASS}'), or --labels.rare train_only "
        f"(learns them without scores)"
    )


def fixed_test_tracks(tracks: "pd.DataFrame", split: SplitConfig) -> "pd.Series[bool]":
    """A mask of the tracks that are in the test set whatever is drawn; all False if it is drawn."""
    mask = tracks["split"] == "test"
    mask |= tracks["group"].isin(split.test_groups)
    if split.test_fold is not None:
        mask |= (tracks["fold"] == split.test_fold).fillna(False).astype(bool)
    return mask.astype(bool)


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


def _counted(n: int, what: str) -> str:
    return f"1 {what}" if n == 1 else f"{n} {what}s"
