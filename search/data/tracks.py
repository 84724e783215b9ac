"""Reads and checks the track table of a sweep, before anything heavy is imported or started."""

from pathlib import Path
from typing import TYPE_CHECKING

from chorale.search.config.resolve import ResolvedSweep
from chorale.search.console.progress import Progress

if TYPE_CHECKING:
    import pandas as pd


def read_tracks(resolved: ResolvedSweep, progress: Progress) -> "pd.DataFrame":
    """The track table of the sweep's dataset.

    Raises:
        UserError: the dataset does not exist.
    """
    with progress.activity("tracks"):
        tracks: pd.DataFrame = resolved.dataset.tracks(resolved.dataset_config)
    progress.stage("tracks", f"{resolved.dataset.INFO.name}: {len(tracks)} tracks")
    return tracks


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


def divisible_tracks(resolved: ResolvedSweep, progress: Progress) -> "pd.DataFrame":
    """As `read_tracks`; warns of files that are not read, and refuses tracks that cannot be split.

    No audio is decoded.

    Raises:
        UserError: the dataset does not exist, or cannot be split as asked.
    """
    tracks = read_tracks(resolved, progress)
    from chorale.datasets.splitting.split import feasible_folds, make_split
    from chorale.search.data.files import warn_about_files

    warn_about_files(resolved, tracks, progress)

    split = resolved.sweep.split
    n_folds, _ = feasible_folds(tracks, split, n_folds=resolved.sweep.finalists.folds)
    make_split(tracks, split, n_folds=n_folds)
    return tracks
