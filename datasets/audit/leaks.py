"""Data leakage between training and test: recordings or groups on both sides of a split.

Runs after the split is made and before anything is trained. `join_groups` keeps duplicates on one
side where the split is still to be drawn; any other leak stops a sweep.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from chorale.datasets.errors import UserError, join_first
from chorale.datasets.label_sets import one_row_per_label
from chorale.datasets.splitting.split import Split
from chorale.datasets.splitting.split_config import LeakKind, SplitConfig

if TYPE_CHECKING:
    import pandas as pd

LEAK_KINDS: tuple[LeakKind, ...] = get_args(LeakKind)

TRACK_SPLIT_LEAKS: tuple[LeakKind, ...] = ("groups", "few_groups")
"""Leaks that a split by track always has."""


@dataclass(frozen=True)
class Leak:
    """One leak that makes scores too optimistic, and its tracks."""

    kind: LeakKind
    track_ids: tuple[str, ...]
    detail: str


def join_groups(
    tracks: "pd.DataFrame", duplicates: "pd.DataFrame", config: SplitConfig
) -> "pd.DataFrame":
    """`tracks` with groups that share a recording merged into one, the first by name.

    Only where the split is still to be drawn: an official test set or fold and `test_groups` are
    unchanged, and a recording on two of their sides is still a leak.

    Args:
        tracks: the table that will be split.
        duplicates: pairs of tracks, track_id and other_id, with the same recording.
        config: how it will be split; by track, nothing is merged.
    """
    if config.by == "track" or duplicates.empty:
        return tracks
    drawn = tracks["fold"].isna() & (tracks["split"] != "test")
    drawn &= ~tracks["group"].isin(config.test_groups)
    open_groups = dict(zip(tracks["track_id"][drawn], tracks["group"][drawn], strict=True))
    pairs = [
        (open_groups[a], open_groups[b])
        for a, b in zip(duplicates["track_id"], duplicates["other_id"], strict=True)
        if a in open_groups and b in open_groups
    ]
    new = _joined(pairs)
    return tracks.assign(group=[new.get(group, group) for group in tracks["group"]]).astype(
        {"group": "str"}
    )


def find_leaks(
    tracks: "pd.DataFrame",
    split: Split,
    duplicates: "pd.DataFrame",
    *,
    train_only: Collection[str] = (),
) -> list[Leak]:
    """All leaks of `split`, in the order of `LEAK_KINDS`.

    Args:
        tracks: the table that was split.
        split: the part of each track.
        duplicates: pairs of tracks, track_id and other_id, with the same recording.
        train_only: classes, or labels, that are not scored, and may be of one group.
    """
    label = dict(zip(tracks["track_id"], tracks["label"], strict=True))
    side = {
        track_id: f"fold {fold}" if fold < split.n_folds else "the tracks that are only trained on"
        for track_id, fold in {**split.fold_of, **split.train_only}.items()
    }
    side |= dict.fromkeys(split.test_ids, "the test set")

    def listed(track_ids: Iterable[str]) -> str:
        return join_first(f"'{name}' ({label[name]}, {side[name]})" for name in track_ids)

    pairs = zip(duplicates["track_id"], duplicates["other_id"], strict=True)
    recordings = _classes(_joined((a, b) for a, b in pairs if a in side and b in side))
    leaks = [
        Leak("duplicates", ids, f"one recording on two sides: {listed(ids)}")
        for ids in recordings
        if len({side[name] for name in ids}) > 1
    ]
    leaks += [
        Leak("labels", ids, f"one recording under two labels: {listed(ids)}")
        for ids in recordings
        if len({label[name] for name in ids}) > 1
    ]
    for group, members in tracks.groupby("group", sort=True)["track_id"]:
        sides = sorted({side[name] for name in members})
        if len(sides) > 1:
            detail = f"group '{group}' is on {len(sides)} sides: {join_first(sides)}"
            leaks.append(Leak("groups", tuple(members), detail))
    for name, rows in one_row_per_label(tracks).groupby("label", sort=True):
        is_scored = not set(rows["track_id"]) <= split.train_only.keys()
        if is_scored and name not in train_only and rows["group"].nunique() < 2:
            detail = (
                f"all {len(rows)} tracks of '{name}' are of one group, '{rows['group'].iloc[0]}'"
            )
            leaks.append(Leak("few_groups", tuple(rows["track_id"]), detail))
    return leaks


def single_group_leaks(tracks: "pd.DataFrame", labels: Iterable[str]) -> list[Leak]:
    """The leaks of classes of one group whose tracks are split by track, as was accepted.

    `find_leaks` does not see them, as each of their tracks is a group in the table that is split.
    """
    leaks = []
    for name in labels:
        ids = tuple(tracks["track_id"][tracks["label"] == name])
        detail = f"all {len(ids)} tracks of '{name}' are of one group, so they are split by track"
        leaks.append(Leak("few_groups", ids, detail))
    return leaks


def accepted_kinds(accept: Collection[str], config: SplitConfig) -> frozenset[str]:
    """The kinds of leaks that are no error: those accepted, and those of a split by track."""
    return frozenset(accept) | frozenset(TRACK_SPLIT_LEAKS if config.by == "track" else ())


def require_no_leaks(leaks: Sequence[Leak], accepted: Collection[str]) -> None:
    """Raises if a leak is not accepted.

    Raises:
        UserError: lists the leaks, and what to type to continue nevertheless.
    """
    left = [leak for leak in leaks if leak.kind not in accepted]
    if not left:
        return
    kinds = [kind for kind in LEAK_KINDS if kind in {leak.kind for leak in left}]
    listed = join_first((f"\n  {leak.kind}: {leak.detail}" for leak in left), between="")
    every = ", ".join(kind for kind in LEAK_KINDS if kind in {*kinds, *accepted})
    count = "1 leak" if len(left) == 1 else f"{len(left)} leaks"
    raise UserError(
        f"audit: the split has {count}, so scores would be too optimistic:{listed}\n"
        f"remove all but one of these tracks, or fix their labels, groups or official split; or "
        f"accept it: --audit.accept '[{every}]'"
    )


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Union-find: each name in `pairs` -> the first, by name, of its connected component."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        parent.setdefault(name, name)
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for a, b in pairs:
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return {name: root(name) for name in parent}


def _classes(joined: dict[str, str]) -> list[tuple[str, ...]]:
    """The connected components, each sorted."""
    members = defaultdict(list)
    for name, first in sorted(joined.items()):
        members[first].append(name)
    return [tuple(names) for _, names in sorted(members.items())]
