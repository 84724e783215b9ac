"""The first stages of a sweep: tracks, audit, features, locked test set and folds.

What comes out is all that the later stages know of the data.
"""

from chorale.search.ledger.ground_truth import Truth
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.markup import escape

from chorale.datasets.audit import faults, leaks
from chorale.datasets.splitting import grouping
from chorale.datasets.atomic import write_text
from chorale.datasets.audit.audit import Audit, refuse
from chorale.datasets.chunks import ChunkMap
from chorale.datasets.config import plain
from chorale.datasets.audit.duplicates import COLUMNS
from chorale.datasets.store.feature_store import FeatureStore
from chorale.datasets.source import Source, source_of
from chorale.datasets.splitting.split import Split, fitting_folds, make_split
from chorale.search.data import feature_stores
from chorale.search.config.schema import SweepConfig
from chorale.search.console.progress import Progress
from chorale.search.config.resolve import Resolved
from chorale.search.data.tracks import divisible_tracks


@dataclass(frozen=True)
class Prepared:
    """Audited tracks with their features and folds.

    Row i of `tracks`, of `labels` (int64, an index into `class_names`) and of every feature store
    is the same track. `stores` maps a feature set to its folder.
    """

    tracks: pd.DataFrame
    class_names: tuple[str, ...]
    labels: np.ndarray
    split: Split
    stores: Mapping[str, Path]
    problems: pd.DataFrame

    def rows(self, track_ids: Iterable[str]) -> np.ndarray:
        """Where the tracks stand, int64, in the order asked for."""
        index = pd.Index(self.tracks["track_id"])
        return np.asarray(index.get_indexer(pd.Index(list(track_ids))), dtype=np.int64)

    def groups(self, rows: np.ndarray) -> np.ndarray:
        """The group of each row."""
        return np.asarray(self.tracks["group"].to_numpy(dtype=str)[rows])

    @property
    def fingerprint(self) -> str:
        """Changes when a track, its audio, its label or its group does."""
        columns = self.tracks[["track_id", "content", "label", "group"]]
        text = json.dumps(columns.to_numpy(dtype=str).tolist())
        return hashlib.sha256(text.encode()).hexdigest()


def prepare(
    resolved: Resolved, progress: Progress, run: ChunkMap, tracks: pd.DataFrame | None = None
) -> Prepared:
    """Reads (unless `divisible_tracks` gave `tracks` before), audits, extracts and splits.

    Raises:
        UserError: the data is not there, is too bad, cannot be split as asked, or leaks.
    """
    sweep = resolved.sweep
    cache_root = sweep.runs_folder.cache
    if tracks is None:
        tracks = divisible_tracks(resolved, progress)
    source = source_of(resolved.dataset, resolved.dataset_config)
    found = survey(source, tracks, sweep, progress, run)
    refuse(found, tracks, max_bad_share=sweep.audit.max_bad_share)
    pairs = same_recordings(source, found.tracks, sweep, progress, run)
    joined = leaks.join_groups(found.tracks, pairs, sweep.split)
    csv = sweep.paths.problems_csv
    n_wrong = _write_wrong(csv, tracks, found, pairs)
    progress.stage("audit", _audited(found, pairs, joined) + (f"; see {csv}" if n_wrong else ""))
    n_folds, fewer = fitting_folds(joined, sweep.split, n_folds=sweep.finalists.folds)
    by = grouping.by_words(tracks, sweep.split.by)
    split = make_split(joined, sweep.split, n_folds=n_folds, by=by)
    leaking = leaks.find(joined, split, pairs)
    accepted = leaks.accepted(sweep.audit.accept, sweep.split)
    if leaking:
        _write_wrong(csv, tracks, found, pairs, leaking, accepted)
    leaks.refuse(leaking, accepted)
    stores = {}
    for feature, config in resolved.features.items():
        watched = progress.watch(run, feature)
        with progress.doing("features"):
            store = source.build(joined, feature, config, root=cache_root, run=watched)
        stores[feature] = store.folder
        progress.stage("features", f"{feature}: {_sized(store)}")
    feature_stores.note(sweep.paths, stores)
    sizes = [len(split.valid_ids(fold)) for fold in range(split.n_folds)]
    progress.stage(
        "split",
        f"{len(split.test_ids)} tracks locked away for the test, "
        f"{split.n_folds} folds of {min(sizes)} to {max(sizes)}, by {by}",
    )
    if fewer:
        progress.stage("split", fewer)
    if sweep.split.by == "group" and (said := ungrouped(resolved, tracks)):
        progress.stage("split", escape(said))
    names = tuple(sorted(joined["label"].unique()))
    labels = joined["label"].map({n: i for i, n in enumerate(names)}).to_numpy(np.int64)
    return Prepared(joined, names, labels, split, stores, found.problems)


def truth_of(prepared: Prepared) -> Truth:
    """The truth about the tracks of a sweep."""
    names = prepared.tracks["track_id"].astype(str)
    return Truth(
        prepared.class_names,
        prepared.split,
        dict(zip(names, map(int, prepared.labels), strict=True)),
        dict(zip(names, prepared.tracks["group"].astype(str), strict=True)),
    )


def ungrouped(resolved: Resolved, tracks: pd.DataFrame) -> str:
    """What to say of tracks without groups, and what the groups may be; empty where there are."""
    proposed = grouping.proposals(tracks) if (key := _has_group(resolved)) else []
    return grouping.caution(tracks, proposed=proposed, key=key)


def _has_group(resolved: Resolved) -> bool:
    """Whether the dataset can be told what its groups are."""
    return str(resolved.dataset.INFO.name) == "folder"


def survey(
    source: Source, tracks: pd.DataFrame, sweep: SweepConfig, progress: Progress, run: ChunkMap
) -> Audit:
    """Which tracks can be used, however many are bad."""
    with progress.doing("audit"):
        return source.survey(
            tracks,
            min_duration_s=sweep.audit.min_duration_s,
            cache_root=sweep.runs_folder.cache,
            run=progress.watch(run, "listening"),
        )


def same_recordings(
    source: Source, tracks: pd.DataFrame, sweep: SweepConfig, progress: Progress, run: ChunkMap
) -> pd.DataFrame:
    """The pairs of audited tracks that are one recording; none where nobody wants them looked for.

    See `datasets.audit.duplicates.duplicates` for the columns.
    """
    if not sweep.audit.fingerprint:
        return pd.DataFrame(columns=list(COLUMNS))
    with progress.doing("audit"):
        return source.duplicates(
            tracks,
            cache_root=sweep.runs_folder.cache,
            run=progress.watch(run, "fingerprinting"),
        )


def fingerprint(resolved: Resolved, prepared: Prepared) -> dict[str, Any]:
    """What must not change while a study goes on; its budget may."""
    from chorale.search.config.distributions import to_optuna  # a check of the data does without Optuna

    sweep = resolved.sweep
    space = {
        owner: {name: repr(to_optuna(one)) for name, one in sorted(parameters.items())}
        for owner, parameters in sorted(resolved.space.spaces.items())
    }
    return {
        "dataset": prepared.fingerprint,
        "split": prepared.split.hash,
        "features": {name: plain(config) for name, config in resolved.features.items()},
        "space": space,
        "search": plain(sweep.search),
        "train": dict(sweep.train),
        "number of epochs": sweep.budget.max_epochs,
    }


def _write_wrong(
    csv: Path,
    tracks: pd.DataFrame,
    found: Audit,
    pairs: pd.DataFrame,
    leaking: Sequence[leaks.Leak] = (),
    accepted: Collection[str] = (),
) -> int:
    """Writes the table of all that is wrong, if anything is; gives its number of rows."""
    wrong = faults.table(
        tracks,
        problems=found.problems,
        warnings=found.warnings,
        duplicates=pairs,
        leaks=leaking,
        accepted=accepted,
    )
    if len(wrong):
        write_text(csv, wrong.to_csv(index=False))
    return len(wrong)


def _audited(found: Audit, pairs: pd.DataFrame, joined: pd.DataFrame) -> str:
    """The audit in one line."""
    hours = joined["duration_s"].sum() / 3600
    said = [f"{len(joined)} good" + (f", {hours:.2f} h of audio" if hours else "")]
    if len(found.warnings):
        said.append(f"warnings of {_counted(found.warnings)}")
    if len(pairs):
        n_joined = found.tracks["group"].nunique() - joined["group"].nunique()
        also = f" (groups joined to keep them on one side: {n_joined})" if n_joined else ""
        said.append(f"duplicates: {len(pairs)}{also}")
    if len(found.problems):
        said.append(f"{len(found.problems)} quarantined ({_counted(found.problems)})")
    return "; ".join(said)


def _sized(store: FeatureStore) -> str:
    n_frames = int(store.offsets[-1])
    if not store.frame_rate_hz:
        return f"{n_frames} rows of {store.n_bins} numbers"
    channels = f" in {store.n_channels} channels" if store.n_channels > 1 else ""
    return f"{n_frames} frames of {store.n_bins // store.n_channels} bins{channels}"


def _counted(problems: pd.DataFrame) -> str:
    return ", ".join(f"{n} {what}" for what, n in problems["problem"].value_counts().items())
