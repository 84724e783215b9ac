"""The groups of a folder's tracks by their folders, their tags, or a regular expression."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from chorale.datasets.errors import UserError
from chorale.datasets.splitting import grouping


def find_groups(wanted: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The group of each row of a track table: `parent_folder`, `tag:NAME`, or a regular expression.

    Raises:
        UserError: the expression is none or has no group, or a track has no folder, tag or match.
    """
    names = [str(row["track_id"]) for row in rows]
    if wanted == grouping.PARENT_FOLDER:
        found = grouping.folder_groups(names, [str(row["label"]) for row in rows])
        _refuse_without(found, names, f"group '{wanted}': no folder below the label's")
        return found
    if not wanted.startswith(grouping.TAG_PREFIX):
        return _matched_groups(wanted, names)
    tag = wanted.removeprefix(grouping.TAG_PREFIX).strip()
    tags = grouping.tag_groups([str(row["path"]) for row in rows], tag)
    # a file that cannot be opened has no tag, and the audit will exclude it
    found = [name if one is None else one for one, name in zip(tags, names, strict=True)]
    _refuse_without(found, names, f"group '{wanted}': no {tag or 'tag'}")
    return found


def _refuse_without(groups: Sequence[str], names: Sequence[str], what: str) -> None:
    without = [name for name, group in zip(names, groups, strict=True) if not group]
    if without:
        raise UserError(
            f"dataset 'folder': {what} for {len(without)} of {len(names)} tracks, such as "
            f"'{without[0]}'; every track needs one, or give another --dataset.group "
            f"parent_folder, tag:NAME or REGEX"
        )


def _matched_groups(pattern: str, names: list[str]) -> list[str]:
    """The group that the regular expression finds in each of the names."""
    fix = "correct it with --dataset.group REGEX"
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise UserError(
            f"dataset 'folder': group '{pattern}' is no regular expression: {error}; {fix}"
        ) from None
    if not regex.groups:
        raise UserError(
            f"dataset 'folder': group '{pattern}' has no ( ) around the part that is the group; "
            f"an example name is '{names[0]}'; {fix}"
        )
    key: str | int = "group" if "group" in regex.groupindex else 1
    found = [match.group(key) if (match := regex.search(name)) else None for name in names]
    unmatched = [name for name, group in zip(names, found, strict=True) if not group]
    if unmatched:
        raise UserError(
            f"dataset 'folder': group '{pattern}' finds no group in {len(unmatched)} of "
            f"{len(names)} names, such as '{unmatched[0]}'; it must match every one; {fix}"
        )
    return [group for group in found if group]
