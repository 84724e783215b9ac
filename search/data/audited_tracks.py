"""Audits a sweep's tracks, and gives the table that is split: with its final classes and groups.

`search.data.prepare` and `chorale data check` call it.
"""

from dataclasses import dataclass, replace

import pandas as pd

from chorale.datasets.audit import leaks
from chorale.datasets.audit.audit import AuditResult
from chorale.datasets.audit.duplicates import DUPLICATE_COLUMNS
from chorale.datasets.chunks import ChunkMap
from chorale.datasets.source import DataSource
from chorale.datasets.splitting.labels import (
    LabelChanges,
    change_rare_classes,
    split_single_groups,
)
from chorale.datasets.splitting.split import Split
from chorale.search.config.schema import SweepConfig
from chorale.search.console.progress import Progress
from chorale.search.data.tracks import LabelledTracks


@dataclass(frozen=True)
class AuditedTracks:
    """The audit's result, the pairs of tracks with the same recording, and the table to split.

    In `joined`, groups that share a recording are one, and classes that became rare are changed as
    the sweep asks: those `changes` come after `LabelledTracks.changes`.
    """

    found: AuditResult
    pairs: pd.DataFrame
    joined: pd.DataFrame
    changes: LabelChanges

    @property
    def n_joined_groups(self) -> int:
        """How many groups were joined into others."""
        before = self.found.tracks[self.found.tracks["track_id"].isin(self.joined["track_id"])]
        return int(before["group"].nunique() - self.joined["group"].nunique())


def audited_tracks(
    source: DataSource,
    given: LabelledTracks,
    sweep: SweepConfig,
    progress: Progress,
    run: ChunkMap,
) -> AuditedTracks:
    """Audits the tracks, however many are bad, and finds duplicates."""
    with progress.activity("audit"):
        found = source.audit(
            given.table,
            min_duration_s=sweep.audit.min_duration_s,
            cache_root=sweep.runs_folder.cache,
            run=progress.watch(run, "decoding"),
        )
    pairs = _duplicate_pairs(source, found.tracks, sweep, progress, run)
    # A class may be of one group only, or be rare, since the audit excluded tracks.
    regrouped, single = split_single_groups(
        found.tracks, split=sweep.split, accept=sweep.audit.accept
    )
    found = replace(found, tracks=regrouped)
    joined = leaks.join_groups(regrouped, pairs, sweep.split)
    joined, rare = change_rare_classes(
        joined,
        sweep.labels,
        sweep.split,
        n_folds=sweep.finalists.folds,
        train_only=given.changes.train_only,
    )
    return AuditedTracks(found, pairs, joined, single.then(rare))


def _duplicate_pairs(
    source: DataSource, tracks: pd.DataFrame, sweep: SweepConfig, progress: Progress, run: ChunkMap
) -> pd.DataFrame:
    """The pairs of audited tracks that are the same recording; none without `audit.fingerprint`.

    See `datasets.audit.duplicates.find_duplicates` for the columns.
    """
    if not sweep.audit.fingerprint:
        return pd.DataFrame(columns=list(DUPLICATE_COLUMNS))
    with progress.activity("audit"):
        return source.find_duplicates(
            tracks,
            cache_root=sweep.runs_folder.cache,
            run=progress.watch(run, "fingerprinting"),
        )


def used_tracks(tracks: pd.DataFrame, split: Split) -> tuple[pd.DataFrame, int]:
    """The tracks that are in a part of the split, and how many are in none.

    The latter are of classes that are only trained on, in groups of the test set.
    """
    is_used = tracks["track_id"].isin([*split.test_ids, *split.trained_ids])
    if is_used.all():
        return tracks, 0
    return tracks[is_used].reset_index(drop=True), int((~is_used).sum())


def unused_text(n: int) -> str:
    """A line about tracks that are in no part of the split."""
    tracks = "1 track" if n == 1 else f"{n} tracks"
    return (
        f"{tracks} of classes that are only trained on: not used, as they are of groups or times "
        f"of the test set"
    )
