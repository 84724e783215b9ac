"""Errors about a folder without usable tracks: what was found there and what was expected.

`datasets.catalog.folder` raises them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.datasets.errors import UserError, join_first
from chorale.datasets.folders.listing import Listing, count_text, ending_of
from chorale.datasets.folders.unread import OTHER_ENDINGS

if TYPE_CHECKING:
    import pandas as pd


def nothing_found(
    listing: Listing, audio: Sequence[str], *, layout: str, extensions: Sequence[str]
) -> UserError:
    """The error where no recording has a label by its folder.

    Args:
        listing: the files below the root.
        audio: those that are recordings.
        layout: the layout that the user wants.
        extensions: endings of the files that are read.
    """
    loose = sum("/" not in name for name in audio)
    hint = f" ({loose} are directly in it, where they have no label)" if loose else ""
    if audio and not loose:
        hint = f" of a {layout} ({len(audio)} are in none, such as '{audio[0]}')"
    endings = [ending_of(name) for name in listing.files if name not in audio]
    others = [ending for ending in endings if ending not in OTHER_ENDINGS]
    if others and not audio:
        hint = f", but {count_text(others)}"
    return UserError(
        f"dataset 'folder': no audio in any label's folder below '{listing.root}'{hint}. "
        f"{expected_text(listing.root, extensions, listing.files)}"
    )


def expected_text(root: Path, extensions: Sequence[str], files: Sequence[str]) -> str:
    """What a folder of recordings must look like; `files` are those below it."""
    tables = [name for name in files if name.lower().endswith((".csv", ".tsv"))]
    there = f", such as --dataset.manifest {tables[0]}" if tables else ""
    return (
        f"Expected: {root}/LABEL/.../FILE with one of the extensions "
        f"{', '.join(extensions)} (others with --dataset.extensions); "
        f"or give a CSV with the columns path,label with --dataset.manifest FILE{there}, or label "
        f"files beside the recordings with --dataset.labels_from audacity or birdnet"
    )


def refuse_groups_in_two_splits(table: "pd.DataFrame") -> None:
    """Checks that each group of a track table has one split.

    Raises:
        UserError: lists the groups that have more than one.
    """
    splits = table.dropna(subset=["split"]).groupby("group")["split"].unique()
    double = [f"'{group}' ({', '.join(sorted(of))})" for group, of in splits.items() if len(of) > 1]
    if double:
        raise UserError(
            f"dataset 'folder': groups in more than one split ({len(double)}): "
            f"{join_first(double)}; the test score would be too optimistic; give each group one "
            f"split in the manifest"
        )
