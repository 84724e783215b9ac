"""Whether a track table has groups, and where the data shows some: its folders, or its tags.

Tracks of one artist sound alike. Where they are on both sides of a split, a classifier learns the
artist, and its score claims too much: by 6 to 10 points on GTZAN.
Source: Flexer 2007, "A Closer Look on Artist Filters for Musical Genre Classification", ISMIR.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

UNGROUPED = "track (no groups were given)"
"""What a split is by in words, where every track is its own group."""

PARENT_FOLDER = "parent_folder"
TAG = "tag:"
TAGS = ("artist", "album")
"""Tags that may be groups, the first that fits is proposed."""

N_ASKED = 200
"""So many files are asked for their tags before groups are proposed."""

MOST_WITHOUT = 0.1
"""A tag that a larger share of the files lacks is no group."""


@dataclass(frozen=True)
class Proposal:
    """What the groups might be: `words` is the value of `dataset.group`, `why` what was seen."""

    words: str
    why: str


def is_ungrouped(tracks: "pd.DataFrame") -> bool:
    """Whether every track of the dataset's own table is its own group."""
    return bool(tracks["group"].nunique() == len(tracks))


def by_words(tracks: "pd.DataFrame", by: str) -> str:
    """What stays on one side of a split, in words: "group", "track", or that there are no groups.

    Args:
        tracks: the dataset's own table, before recordings that are the same were joined.
        by: as the split's config says.
    """
    return UNGROUPED if by == "group" and is_ungrouped(tracks) else by


def folder_groups(track_ids: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Of each track the folder that it lies in, below its label's; empty where there is none.

    `rock/abba/gold/01.wav` with the label `rock` is of `abba/gold`.
    """
    groups = []
    for name, label in zip(track_ids, labels, strict=True):
        folders = PurePosixPath(name).parent.parts
        groups.append("/".join(folders[1:] if folders[:1] == (label,) else folders))
    return groups


def tag_groups(paths: Sequence[str], tag: str) -> list[str | None]:
    """What the files say in a tag, its case and spaces apart; "" where one says nothing.

    None for a file that cannot be opened: the audit will say so.
    """
    # Imported here: who reads no tags does not wait for what opens audio.
    from chorale.datasets import audio

    found: list[str | None] = []
    for path in paths:
        try:
            found.append(" ".join(audio.tags(path).get(tag, "").split()).casefold())
        except audio.AudioError:
            found.append(None)
    return found


def proposals(tracks: "pd.DataFrame") -> list[Proposal]:
    """What the groups of an ungrouped table might be, the likeliest first; [] where it has some."""
    if not is_ungrouped(tracks):
        return []
    labels = tracks["label"].astype(str).tolist()
    found = []
    groups = folder_groups(tracks["track_id"].astype(str).tolist(), labels)
    if all(groups) and _are_groups(groups, labels):
        n = len(set(groups))
        found.append(Proposal(PARENT_FOLDER, f"the {len(groups)} tracks lie in {n} folders"))
    with_file = tracks[tracks["path"].notna()]
    if not len(with_file):
        return found
    rows = np.unique(np.linspace(0, len(with_file) - 1, N_ASKED).astype(int))
    asked = with_file.iloc[rows]
    for tag in TAGS:
        said = tag_groups(asked["path"].astype(str).tolist(), tag)
        pairs = zip(said, asked["label"].astype(str), strict=True)
        known = [(group, label) for group, label in pairs if group]
        enough = len(known) >= (1 - MOST_WITHOUT) * len(asked)
        if enough and _are_groups([group for group, _ in known], [label for _, label in known]):
            n = len({group for group, _ in known})
            why = f"{len(known)} of {len(asked)} files that were asked name {n} {tag}s"
            found.append(Proposal(f"{TAG}{tag}", why))
            break
    return found


def caution(tracks: "pd.DataFrame", *, proposed: Sequence[Proposal], key: bool) -> str:
    """What is wrong with having no groups, and what to type; empty where there are some.

    Args:
        tracks: the dataset's own table.
        proposed: as `proposals` gives it.
        key: whether the dataset has the key `group`.
    """
    if not is_ungrouped(tracks):
        return ""
    said = (
        "no groups were given, so that tracks of one artist (or speaker, or recording) may be on "
        "both sides of the split, and every score claims too much"
    )
    if not key:
        return f"{said}; give each track its group, if there are any"
    ways = [f"group: {one.words} ({one.why})" for one in proposed]
    if ways:
        return f"{said}; these look like groups, write below dataset: {', or '.join(ways)}"
    return (
        f"{said}; say what the groups are below dataset: group: {PARENT_FOLDER}, group: "
        f"{TAG}artist, or group: REGEX"
    )


def _are_groups(groups: Sequence[str], labels: Sequence[str]) -> bool:
    """Whether several tracks share a group, and every class has several groups."""
    of_label: dict[str, set[str]] = {}
    for group, label in zip(groups, labels, strict=True):
        of_label.setdefault(label, set()).add(group)
    n_groups = len(set(groups))
    return n_groups < len(groups) and min(map(len, of_label.values())) >= 2
