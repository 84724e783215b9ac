"""The tracks of a sweep, read and looked at before anything heavy is imported or started."""

from pathlib import Path
from typing import TYPE_CHECKING

from chorale.search.console.progress import Progress
from chorale.search.config.resolve import Resolved

if TYPE_CHECKING:
    import pandas as pd


def read_tracks(resolved: Resolved, progress: Progress) -> "pd.DataFrame":
    """The track table of the sweep's dataset.

    Raises:
        UserError: the dataset is not there.
    """
    with progress.doing("tracks"):
        tracks: pd.DataFrame = resolved.dataset.tracks(resolved.dataset_config)
    progress.stage("tracks", f"{resolved.dataset.INFO.name}: {len(tracks)} tracks")
    return tracks


def refuse_missing(resolved: Resolved) -> None:
    """Refuses a dataset whose folder or file is not there, which takes no time to see.

    Raises:
        UserError: it is missing.
    """
    root = getattr(resolved.dataset_config, "root", None)
    if not isinstance(root, str) or resolved.dataset.INFO.is_made:
        return
    if not Path(root).expanduser().exists():
        resolved.dataset.tracks(resolved.dataset_config)  # says so in its own words


def divisible_tracks(resolved: Resolved, progress: Progress) -> "pd.DataFrame":
    """As `read_tracks`; what cannot be split is said before anything is decoded.

    Raises:
        UserError: the dataset is not there, or cannot be split as asked.
    """
    tracks = read_tracks(resolved, progress)
    from chorale.datasets.splitting.split import fitting_folds, make_split

    split = resolved.sweep.split
    n_folds, _ = fitting_folds(tracks, split, n_folds=resolved.sweep.finalists.folds)
    make_split(tracks, split, n_folds=n_folds)
    return tracks
