"""Accounts for the files of a dataset that are no track, and points out labels that look alike.

A sweep prints one line about each; `chorale data check` lists them.
"""

from collections import Counter
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from chorale.datasets.audit.label_names import SIMILAR_LABELS, similar_labels, similar_text
from chorale.datasets.base import IGNORED, NO_TRACK, NOT_READ
from chorale.datasets.errors import join_first
from chorale.datasets.label_sets import labels_of
from chorale.search.console.progress import Progress

if TYPE_CHECKING:
    import pandas as pd


def unread_files(dataset: ModuleType, config: Any) -> "pd.DataFrame | None":
    """The files of a dataset that are no track (see `NOT_READ_COLUMNS`).

    None for a dataset that does not account for its files.
    """
    if not hasattr(dataset, "not_read"):
        return None
    table: pd.DataFrame = dataset.not_read(config)
    return table


def unread_counts(unread: "pd.DataFrame", outcome: str) -> Counter[str]:
    """Problem -> the number of files with it, for the files of one outcome."""
    return Counter(unread["problem"][unread["outcome"] == outcome].tolist())


def file_sum_text(
    unread: "pd.DataFrame", tracks: Mapping[str, int], *, n_elsewhere: int = 0
) -> str:
    """What became of every file: "48 files: 24 tracks used, 16 m4a not read, 8 hidden".

    Args:
        unread: the files that are no track.
        tracks: what became of the tracks -> their number: "used", "quarantined".
        n_elsewhere: how many of the tracks are not below the dataset's root.
    """
    counts = [
        (n, f"{'track' if n == 1 else 'tracks'} {became}") for became, n in tracks.items() if n
    ]
    for outcome in (NOT_READ, IGNORED):
        counts += [(n, what) for what, n in unread_counts(unread, outcome).most_common()]
    total = sum(n for n, _ in counts)
    elsewhere = f" ({n_elsewhere} of the tracks are elsewhere)" if n_elsewhere else ""
    return f"{total} files: " + ", ".join(f"{n} {what}" for n, what in counts) + elsewhere


def similar_label_texts(tracks: "pd.DataFrame") -> list[str]:
    """One text for each group of nearly equal labels."""
    counts = Counter(label for text in tracks["label"] for label in labels_of(text))
    return [similar_text(labels, counts) for labels in similar_labels(counts)]


def label_faults(tracks: "pd.DataFrame") -> list[tuple[str, str]]:
    """Problem and detail of each group of nearly equal labels, for the table of faults."""
    return [(SIMILAR_LABELS, text) for text in similar_label_texts(tracks)]


def warn_about_files(
    unread: "pd.DataFrame | None", tracks: "pd.DataFrame", progress: Progress
) -> None:
    """Prints a line about files that were not read, and one about labels that look alike."""
    if unread is not None:
        counts = unread_counts(unread, NOT_READ)
        empty = unread["path"][unread["outcome"] == NO_TRACK]
        parts = [", ".join(f"{n} {what}" for what, n in counts.most_common())] if counts else []
        if len(empty):
            named = join_first(f"'{path}'" for path in empty)
            parts.append(f"no track at all in {named}")
        if parts:
            progress.stage(
                "tracks",
                f"warning: {counts.total()} files are not read: {'; '.join(parts)}; "
                f"chorale data check lists them",
            )
    for text in similar_label_texts(tracks):
        progress.stage("tracks", f"warning: the labels {text}")
