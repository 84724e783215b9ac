"""Audits a sweep's tracks, splits what is left, and looks for leaks between the parts.

`search.data.prepare` and `chorale data check` call it.
"""

from dataclasses import dataclass, replace

import pandas as pd

from chorale.datasets.audit import leaks
from chorale.datasets.audit.audit import AuditResult
from chorale.datasets.audit.duplicates import DUPLICATE_COLUMNS
from chorale.datasets.chunks import ChunkMap
from chorale.datasets.source import DataSource
from chorale.datasets.splitting.labels import LabelChanges, split_single_groups, tracks_text
from chorale.datasets.splitting.rare_classes import change_rare_classes, refuse_rare_classes
from chorale.datasets.splitting.split import Split, split_tracks
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

    def summary(self) -> str:
        """The result of the audit in one line."""
        found, n_joined = self.found, self.n_joined_groups
        hours = found.tracks["duration_s"].sum() / 3600
        parts = [f"{len(found.tracks)} good" + (f", {hours:.2f} h of audio" if hours else "")]
        if len(found.warnings):
            parts.append(f"warnings of {_problem_counts(found.warnings)}")
        if len(self.pairs):
            text = f" (groups joined to keep them on one side: {n_joined})" if n_joined else ""
            parts.append(f"duplicates: {len(self.pairs)}{text}")
        if len(found.problems):
            parts.append(f"{len(found.problems)} quarantined ({_problem_counts(found.problems)})")
        return "; ".join(parts)


def audited_tracks(
    source: DataSource,
    given: LabelledTracks,
    sweep: SweepConfig,
    progress: Progress,
    run: ChunkMap,
) -> AuditedTracks:
    """Audits the tracks, however many are bad, and finds duplicates."""
    cache_root = sweep.runs_folder.cache
    with progress.activity("audit"):
        found = source.audit(
            given.table,
            min_duration_s=sweep.audit.min_duration_s,
            cache_root=cache_root,
            run=progress.watch(run, "decoding"),
        )
        pairs = pd.DataFrame(columns=list(DUPLICATE_COLUMNS))
        if sweep.audit.fingerprint:
            watched = progress.watch(run, "fingerprinting")
            pairs = source.find_duplicates(found.tracks, cache_root=cache_root, run=watched)
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


def _problem_counts(problems: pd.DataFrame) -> str:
    return ", ".join(f"{n} {what}" for what, n in problems["problem"].value_counts().items())


@dataclass(frozen=True)
class SplitTracks:
    """The tracks that are in a part of the split, and which of them leak from one to another.

    `unused` is a line about tracks that are in no part, `fewer` is why there are fewer folds than
    the sweep wants; both are "" where there is nothing to say.
    """

    tracks: pd.DataFrame
    split: Split
    unused: str
    fewer: str
    leaking: list[leaks.Leak]


def split_audited(
    audited: AuditedTracks, changes: LabelChanges, sweep: SweepConfig, *, by: str | None = None
) -> SplitTracks:
    """Splits the audited tracks as the sweep asks.

    `changes` are all changes of classes, before and after the audit; `by` as for `make_split`.

    Raises:
        UserError: a class is rare, or the tracks cannot be split.
    """
    joined, n_folds = audited.joined, sweep.finalists.folds
    accept = sweep.audit.accept
    refuse_rare_classes(joined, sweep.labels, sweep.split, n_folds=n_folds, accept=accept)
    split, fewer = split_tracks(
        joined, sweep.split, n_folds=n_folds, by=by, train_only=changes.train_only
    )
    is_used = joined["track_id"].isin([*split.test_ids, *split.trained_ids])
    tracks, unused = joined, ""
    if not is_used.all():  # of classes that are only trained on
        tracks, n = joined[is_used].reset_index(drop=True), int((~is_used).sum())
        unused = (
            f"{tracks_text(n)} of classes that are only trained on: not used, as they are of "
            f"groups or times of the test set"
        )
    leaking = leaks.find_leaks(tracks, split, audited.pairs, train_only=changes.train_only)
    leaking += leaks.single_group_leaks(tracks, changes.by_track)
    return SplitTracks(tracks, split, unused, fewer, leaking)
