"""Reads and checks the track table of a sweep, before anything heavy is imported or started."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.datasets.label_sets import class_names_of, labels_of, unknown_texts
from chorale.datasets.splitting.labels import LabelChanges, change_labels, split_single_groups
from chorale.datasets.splitting.rare_classes import change_rare_classes, refuse_rare_classes
from chorale.search.config.resolve import ResolvedSweep
from chorale.search.console.progress import Progress

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class LabelledTracks:
    """A track table, the dataset's `own` one, and how their classes and groups differ."""

    table: "pd.DataFrame"
    own: "pd.DataFrame"
    changes: LabelChanges = field(default_factory=LabelChanges)


def read_tracks(resolved: ResolvedSweep, progress: Progress) -> LabelledTracks:
    """The track table of the sweep's dataset, with the classes that the sweep asks for.

    Raises:
        UserError: the dataset does not exist, or `labels` names classes that it does not have.
    """
    with progress.activity("tracks"):
        tracks: pd.DataFrame = resolved.dataset.tracks(resolved.dataset_config)
    progress.stage("tracks", f"{resolved.dataset.INFO.name}: {len(tracks)} tracks")
    sweep = resolved.sweep
    table, changes = change_labels(tracks, sweep.labels)
    table, single = split_single_groups(table, split=sweep.split, accept=sweep.audit.accept)
    table, rare = change_rare_classes(
        table, sweep.labels, sweep.split, n_folds=sweep.finalists.folds
    )
    changes = changes.then(single).then(rare)
    for line in (*_unknown_lines(table), *changes.lines()):
        progress.stage("labels", line)
    return LabelledTracks(table, tracks, changes)


def _unknown_lines(tracks: "pd.DataFrame") -> list[str]:
    """How many pairs of a track and a label are unknown; empty where all are known."""
    n_classes = len(class_names_of(tracks["label"]))
    n_unknown = sum(len(labels_of(text)) for text in unknown_texts(tracks))
    if not n_unknown:
        return []
    return [
        f"of {len(tracks) * n_classes} pairs of a track and a label {n_unknown} are unknown: they "
        f"are neither trained on nor scored"
    ]


def labels_per_track(tracks: "pd.DataFrame") -> "pd.Series[int]":
    """The number of labels of each track."""
    return tracks["label"].map(lambda text: len(labels_of(text)))


def refuse_missing(resolved: ResolvedSweep) -> None:
    """Refuses a dataset whose folder or file does not exist.

    Raises:
        UserError: it is missing.
    """
    root = getattr(resolved.dataset_config, "root", None)
    if not isinstance(root, str) or resolved.dataset.INFO.is_generated:
        return
    if not Path(root).expanduser().exists():
        resolved.dataset.tracks(resolved.dataset_config)  # raises its own error


def divisible_tracks(resolved: ResolvedSweep, progress: Progress) -> LabelledTracks:
    """As `read_tracks`; warns of files that are not read, and refuses tracks that cannot be split.

    No audio is decoded.

    Raises:
        UserError: the dataset does not exist, or cannot be split as asked.
    """
    tracks = read_tracks(resolved, progress)
    from chorale.datasets.splitting.split import split_tracks
    from chorale.search.data.files import unread_files, warn_about_files

    unread = unread_files(resolved.dataset, resolved.dataset_config)
    warn_about_files(unread, tracks.table, progress)
    split, n_wanted = resolved.sweep.split, resolved.sweep.finalists.folds
    accept = resolved.sweep.audit.accept
    refuse_rare_classes(tracks.table, resolved.sweep.labels, split, n_folds=n_wanted, accept=accept)
    split_tracks(tracks.table, split, n_folds=n_wanted, train_only=tracks.changes.train_only)
    return tracks
