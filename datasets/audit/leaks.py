"""Finds what a split lets through from training to test: shared recordings, shared groups.

After the split is made and before anything is trained. Duplicates that nobody has put on two sides
are kept together before, by `join_groups`; what is left is a leak, and stops a sweep.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from chorale.datasets.errors import UserError, shown
from chorale.datasets.splitting.split import Split
from chorale.datasets.splitting.split_config import Kind, SplitConfig

if TYPE_CHECKING:
    import pandas as pd

KINDS: tuple[Kind, ...] = get_args(Kind)

OF_TRACKS: tuple[Kind, ...] = ("groups", "few_groups")
"""What a split by track lets through by its nature."""


@dataclass(frozen=True)
class Leak:
    """One thing that makes a score claim too much, and the tracks that it is about."""

    kind: Kind
    track_ids: tuple[str, ...]
    detail: str


def join_groups(
    tracks: "pd.DataFrame", duplicates: "pd.DataFrame", config: SplitConfig
) -> "pd.DataFrame":
    """`tracks` with one group, the first by name, for all groups that share a recording.

    Only where the split is still to be drawn: an official test set or fold, and `test_groups`, stay
    as they are, and a recording on two of their sides stays a leak.

    Args:
        tracks: the table that will be split.
        duplicates: pairs of tracks, track_id and other_id, with the same recording.
        config: how it will be split; by track, nothing can be joined.
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


def find(tracks: "pd.DataFrame", split: Split, duplicates: "pd.DataFrame") -> list[Leak]:
    """All leaks of `split`, in the order of `KINDS`.

    Args:
        tracks: the table that was split.
        split: where each track stands.
        duplicates: pairs of tracks, track_id and other_id, with the same recording.
    """
    label = dict(zip(tracks["track_id"], tracks["label"], strict=True))
    side = {track_id: f"fold {fold}" for track_id, fold in split.fold_of.items()}
    side |= dict.fromkeys(split.test_ids, "the test set")

    def said(track_ids: Iterable[str]) -> str:
        return shown(f"'{name}' ({label[name]}, {side[name]})" for name in track_ids)

    pairs = zip(duplicates["track_id"], duplicates["other_id"], strict=True)
    recordings = _classes(_joined((a, b) for a, b in pairs if a in side and b in side))
    leaks = [
        Leak("duplicates", ids, f"one recording on two sides: {said(ids)}")
        for ids in recordings
        if len({side[name] for name in ids}) > 1
    ]
    leaks += [
        Leak("labels", ids, f"one recording under two labels: {said(ids)}")
        for ids in recordings
        if len({label[name] for name in ids}) > 1
    ]
    for group, members in tracks.groupby("group", sort=True)["track_id"]:
        sides = sorted({side[name] for name in members})
        if len(sides) > 1:
            detail = f"group '{group}' is on {len(sides)} sides: {shown(sides)}"
            leaks.append(Leak("groups", tuple(members), detail))
    for name, rows in tracks.groupby("label", sort=True):
        if rows["group"].nunique() < 2:
            detail = (
                f"all {len(rows)} tracks of '{name}' are of one group, '{rows['group'].iloc[0]}'"
            )
            leaks.append(Leak("few_groups", tuple(rows["track_id"]), detail))
    return leaks


def accepted(accept: Collection[str], config: SplitConfig) -> frozenset[str]:
    """The kinds that stop nothing: those that are accepted, and those of a split by track."""
    return frozenset(accept) | frozenset(OF_TRACKS if config.by == "track" else ())


def refuse(leaks: Sequence[Leak], accepted: Collection[str]) -> None:
    """Stops where a leak is not accepted.

    Raises:
        UserError: names the leaks, and what to type to go on nevertheless.
    """
    left = [leak for leak in leaks if leak.kind not in accepted]
    if not left:
        return
    kinds = [kind for kind in KINDS if kind in {leak.kind for leak in left}]
    listed = shown((f"\n  {leak.kind}: {leak.detail}" for leak in left), between="")
    every = ", ".join(kind for kind in KINDS if kind in {*kinds, *accepted})
    count = "1 leak" if len(left) == 1 else f"{len(left)} leaks"
    raise UserError(
        f"audit: the split has {count}, so a score would claim too much:{listed}\n"
        f"remove all but one of these tracks, or mend their labels, groups or official split; or "
        f"accept it, knowing that: --audit.accept '[{every}]'"
    )


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Union-find: each name in `pairs` -> the first, by name, of all that it is joined with."""
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
    """The sets of names that are joined with one another, each sorted."""
    members = defaultdict(list)
    for name, first in sorted(joined.items()):
        members[first].append(name)
    return [tuple(names) for _, names in sorted(members.items())]
