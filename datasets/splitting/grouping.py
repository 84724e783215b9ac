"""Groups (artists, speakers) of a track table: whether it has any, and proposals from its data.

Proposals come from folders and tags. Tracks of one artist sound alike. If they are on both sides of
a split, a classifier learns the artist, and its score is too optimistic: by 6 to 10 points on
GTZAN.
Source: Flexer 2007, "A Closer Look on Artist Filters for Musical Genre Classification", ISMIR.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from chorale.datasets.label_sets import labels_of

if TYPE_CHECKING:
    import pandas as pd

UNGROUPED_TEXT = "track (no groups were given)"
"""The split unit in the protocol text where every track is its own group."""

PARENT_FOLDER = "parent_folder"
TAG_PREFIX = "tag:"
GROUP_TAGS = ("artist", "album")
"""Tags that may be groups; the first that fits is proposed."""

N_PROBED_FILES = 200
"""Number of files whose tags are read to propose groups."""

MAX_UNTAGGED_SHARE = 0.1
"""A tag that is missing in a larger share of the files is not proposed."""


@dataclass(frozen=True)
class GroupProposal:
    """A proposal for the config key `dataset.group`: `setting` is its value, `why` the evidence."""

    setting: str
    why: str


def is_ungrouped(tracks: "pd.DataFrame") -> bool:
    """Whether every track of the dataset's own table is its own group."""
    return bool(tracks["group"].nunique() == len(tracks))


def split_unit_text(tracks: "pd.DataFrame", by: str) -> str:
    """The split unit for the protocol text: "group", "track", or that there are no groups.

    Args:
        tracks: the dataset's own table, before groups with the same recording were merged.
        by: the value of the split's config.
    """
    return UNGROUPED_TEXT if by == "group" and is_ungrouped(tracks) else by


def folder_groups(track_ids: Sequence[str], labels: Sequence[str]) -> list[str]:
    """The folder of each track below its label's folder; empty where there is none.

    `rock/abba/gold/01.wav` with the label `rock` has the group `abba/gold`, and so has
    `train/rock/abba/gold/01.wav`: one artist in two splits is one group.
    """
    groups = []
    for name, label in zip(track_ids, labels, strict=True):
        folders = PurePosixPath(name).parent.parts
        start = folders.index(label) + 1 if label in folders[:2] else 0
        groups.append("/".join(folders[start:]))
    return groups


def tag_groups(paths: Sequence[str], tag: str) -> list[str | None]:
    """The value of a tag in each file, with case and spaces normalised; "" where it is missing.

    None for a file that cannot be opened, which the audit reports.
    """
    # imported here, because most callers read no tags
    from chorale.datasets import audio

    found: list[str | None] = []
    for path in paths:
        try:
            found.append(" ".join(audio.read_tags(path).get(tag, "").split()).casefold())
        except audio.AudioError:
            found.append(None)
    return found


def propose_groups(tracks: "pd.DataFrame") -> list[GroupProposal]:
    """Proposals for the groups of an ungrouped table, the likeliest first; [] if it has groups."""
    if not is_ungrouped(tracks):
        return []
    labels = tracks["label"].astype(str).tolist()
    found = []
    groups = folder_groups(tracks["track_id"].astype(str).tolist(), labels)
    if all(groups) and _are_groups(groups, labels):
        n = len(set(groups))
        found.append(GroupProposal(PARENT_FOLDER, f"the {len(groups)} tracks are in {n} folders"))
    with_file = tracks[tracks["path"].notna()]
    if not len(with_file):
        return found
    rows = np.unique(np.linspace(0, len(with_file) - 1, N_PROBED_FILES).astype(int))
    probed = with_file.iloc[rows]
    for tag in GROUP_TAGS:
        values = tag_groups(probed["path"].astype(str).tolist(), tag)
        pairs = zip(values, probed["label"].astype(str), strict=True)
        known = [(group, label) for group, label in pairs if group]
        enough = len(known) >= (1 - MAX_UNTAGGED_SHARE) * len(probed)
        if enough and _are_groups([group for group, _ in known], [label for _, label in known]):
            n = len({group for group, _ in known})
            why = f"{len(known)} of {len(probed)} probed files name {n} {tag}s"
            found.append(GroupProposal(f"{TAG_PREFIX}{tag}", why))
            break
    return found


def no_groups_warning(
    tracks: "pd.DataFrame", *, proposed: Sequence[GroupProposal], key: bool
) -> str:
    """The warning about missing groups and what to type; empty if there are groups.

    Args:
        tracks: the dataset's own table.
        proposed: the result of `propose_groups`.
        key: whether the dataset's config has the key `group`.
    """
    if not is_ungrouped(tracks):
        return ""
    warning = (
        "no groups were given, so that tracks of one artist (or speaker, or recording) may be on "
        "both sides of the split, and every score is too optimistic"
    )
    if not key:
        return f"{warning}; give each track its group, if there are any"
    ways = [f"group: {one.setting} ({one.why})" for one in proposed]
    if ways:
        return f"{warning}; these look like groups, write below dataset: {', or '.join(ways)}"
    return (
        f"{warning}; name the groups below dataset: group: {PARENT_FOLDER}, group: "
        f"{TAG_PREFIX}artist, or group: REGEX"
    )


def _are_groups(groups: Sequence[str], labels: Sequence[str]) -> bool:
    """Whether several tracks share a group, and every class has several groups."""
    of_label: dict[str, set[str]] = {}
    for group, text in zip(groups, labels, strict=True):
        for label in labels_of(text):
            of_label.setdefault(label, set()).add(group)
    n_groups = len(set(groups))
    return n_groups < len(groups) and min(map(len, of_label.values())) >= 2
