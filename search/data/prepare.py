"""Data preparation of a sweep: track table, audit, features, locked test set and folds.

The result, `PreparedData`, is all that later stages know of the data.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chorale.datasets.atomic import write_text
from chorale.datasets.audit import faults, leaks
from chorale.datasets.audit.audit import AuditResult, missing_decoders, require_usable_tracks
from chorale.datasets.chunks import ChunkMap
from chorale.datasets.config import to_plain_values
from chorale.datasets.label_sets import (
    UNKNOWN,
    UNKNOWN_COLUMN,
    LabelArray,
    class_names_of,
    track_labels,
    without_classes,
)
from chorale.datasets.source import source_of
from chorale.datasets.splitting import grouping
from chorale.datasets.splitting.labels import LabelChanges
from chorale.datasets.splitting.split import Split
from chorale.search.config.encoder_choices import is_encoder
from chorale.search.config.resolve import ResolvedSweep
from chorale.search.config.schema import FOLDER, SweepConfig
from chorale.search.console.progress import Progress
from chorale.search.data import feature_stores, near_duplicates
from chorale.search.data.audited_tracks import SplitTracks, audited_tracks, split_audited
from chorale.search.data.feature_extraction import extract_features
from chorale.search.data.rare_class_options import more_folds_advice
from chorale.search.data.tracks import LabelledTracks, divisible_tracks
from chorale.search.ledger.ground_truth import GroundTruth
from chorale.search.ledger.near_pairs import write_near_pairs


@dataclass(frozen=True)
class PreparedData:
    """Audited tracks with their features and folds.

    Row i of `tracks`, of `labels` (int64, an index into `class_names`; where tracks have several
    labels, int8 (n, n_classes) of 0, 1 and `UNKNOWN`) and of every feature store is the same track.
    `stores` maps a feature set to the folder of its store; `problems` are the quarantined tracks,
    `label_changes` the classes that were left out or merged, or are only trained on. `views` are
    the stores of the augmented views of the tracks that are trained on: their rows are others.
    """

    tracks: pd.DataFrame
    class_names: tuple[str, ...]
    labels: LabelArray
    split: Split
    stores: Mapping[str, Path]
    problems: pd.DataFrame
    label_changes: LabelChanges = field(default_factory=LabelChanges)
    views: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)

    @property
    def multi_label(self) -> bool:
        """Whether tracks have several labels."""
        return self.labels.ndim == 2

    @property
    def unscored(self) -> tuple[int, ...]:
        """The labels, where tracks have several, that are only trained on: columns of `labels`.

        Their tracks may be in any part of the split, as they may have other labels.
        """
        if not self.multi_label:
            return ()
        return tuple(
            i for i, name in enumerate(self.class_names) if name in self.label_changes.train_only
        )

    @property
    def scored_labels(self) -> LabelArray:
        """`labels` for scores: where multi-label, the `unscored` ones are unknown."""
        return without_classes(self.labels, self.unscored)

    def rows(self, track_ids: Iterable[str]) -> np.ndarray:
        """The row of each track, int64; -1 where it is unknown."""
        index = pd.Index(self.tracks["track_id"])
        return np.asarray(index.get_indexer(pd.Index(list(track_ids))), dtype=np.int64)

    def groups(self, rows: np.ndarray) -> np.ndarray:
        """The group of each row."""
        return np.asarray(self.tracks["group"].to_numpy(dtype=str)[rows])

    @property
    def fingerprint(self) -> str:
        """A hash of all tracks, their audio, labels and groups."""
        names = ["track_id", "content", "label", "group"]
        names += [UNKNOWN_COLUMN] if UNKNOWN_COLUMN in self.tracks else []
        text = json.dumps(self.tracks[names].to_numpy(dtype=str).tolist())
        return hashlib.sha256(text.encode()).hexdigest()


def prepare(
    resolved: ResolvedSweep,
    progress: Progress,
    run: ChunkMap,
    given: LabelledTracks | None = None,
    left_s: Callable[[], float] | None = None,
) -> PreparedData:
    """Reads the tracks (unless they are given), audits and splits them, and extracts features.

    `left_s` is as for `extract_features`: with it, `stores` may lack feature sets.

    Raises:
        UserError: the data does not exist, has too many bad tracks, or cannot be split as
            configured; or the split leaks.
    """
    sweep = resolved.sweep
    cache_root = sweep.runs_folder.cache
    given = given or divisible_tracks(resolved, progress)
    tracks = given.table
    source = source_of(resolved.dataset, resolved.dataset_config)
    audited = audited_tracks(source, given, sweep, progress, run)
    found, pairs = audited.found, audited.pairs
    require_usable_tracks(found, tracks, max_bad_share=sweep.audit.max_bad_share)
    csv = sweep.paths.problems_csv
    n_faults = _write_faults(csv, tracks, found, pairs)
    progress.stage("audit", audited.summary() + (f"; see {csv}" if n_faults else ""))
    for line in missing_decoders(found.problems):
        progress.stage("audit", line)
    for line in audited.changes.lines():
        progress.stage("labels", f"after the audit {line}")
    changes = given.changes.then(audited.changes)
    by = grouping.split_unit_text(given.own, sweep.split.by) + changes.by_track_text
    parts = split_audited(audited, changes, sweep, by=by)
    joined, split = parts.tracks, parts.split
    if parts.unused:
        progress.stage("split", parts.unused)
    accepted = leaks.accepted_kinds(sweep.audit.accept, sweep.split)
    if parts.leaking:
        _write_faults(csv, tracks, found, pairs, parts.leaking, accepted)
    leaks.require_no_leaks(parts.leaking, accepted)
    made = extract_features(
        resolved,
        source,
        joined,
        split,
        root=cache_root,
        progress=progress,
        run=run,
        left_s=left_s,
    )
    feature_stores.record_use(sweep.paths, made.folders)
    near = near_duplicates.report_near_duplicates(joined, pairs, made.stores, progress)
    if any(map(is_encoder, made.stores)):
        write_near_pairs(sweep.paths.near_duplicates_json, near)
    if near:
        both = [found.warnings, near_duplicates.near_pair_warnings(near, joined)]
        warned = replace(found, warnings=pd.concat(both, ignore_index=True))
        _write_faults(csv, tracks, warned, pairs, parts.leaking, accepted)
    for line in _split_lines(parts, sweep, by):
        progress.stage("split", line)
    if sweep.split.by == "group" and (warning := no_groups_note(resolved, given.own)):
        progress.stage("split", warning)
    names = class_names_of(joined["label"].astype(str))
    labels = track_labels(joined, names)
    return PreparedData(
        joined, names, labels, split, made.stores, found.problems, changes, made.views
    )


def _split_lines(parts: SplitTracks, sweep: SweepConfig, by: str) -> list[str]:
    """The sizes of the test set and the folds, and what is unusual about them."""
    split = parts.split
    sizes = [len(split.valid_ids(fold)) for fold in range(split.n_folds)]
    lines = [
        f"{len(split.test_ids)} tracks locked away for the test, "
        f"{split.n_folds} folds of {min(sizes)} to {max(sizes)}, by {by}"
    ]
    if split.by_time:
        n_first = sum(fold == split.n_folds for fold in split.train_only.values())
        lines.append(
            f"by time: the test tracks are the latest; each fold is validated on a later block of "
            f"{sweep.split.by}s than it is trained on; the first {n_first} tracks are only trained "
            f"on"
        )
    if parts.fewer:
        n_folds = sweep.finalists.folds
        advice = more_folds_advice(parts.tracks, sweep.labels, sweep.split, n_folds=n_folds)
        lines.append(parts.fewer + advice)
    return lines


def ground_truth_of(prepared: PreparedData) -> GroundTruth:
    """The labels, groups and split of a sweep's tracks, as later stages read them from disk."""
    names = prepared.tracks["track_id"].astype(str)
    labels: list[int | tuple[int, ...]]
    unknown: dict[str, tuple[int, ...]] = {}
    if prepared.multi_label:
        labels = [tuple(np.flatnonzero(row > 0).tolist()) for row in prepared.labels]
        unknown = {
            name: tuple(np.flatnonzero(row == UNKNOWN).tolist())
            for name, row in zip(names, prepared.labels, strict=True)
            if (row == UNKNOWN).any()
        }
    else:
        labels = prepared.labels.tolist()
    return GroundTruth(
        prepared.class_names,
        prepared.split,
        dict(zip(names, labels, strict=True)),
        dict(zip(names, prepared.tracks["group"].astype(str), strict=True)),
        prepared.unscored,
        unknown,
    )


def no_groups_note(resolved: ResolvedSweep, tracks: pd.DataFrame) -> str:
    """A warning for tracks without groups, with proposals for them; empty if there are groups."""
    proposed = grouping.propose_groups(tracks) if (key := _has_group_key(resolved)) else []
    return grouping.no_groups_warning(tracks, proposed=proposed, key=key)


def _has_group_key(resolved: ResolvedSweep) -> bool:
    """Whether the dataset's config has a key `group`."""
    return str(resolved.dataset.INFO.name) == FOLDER


def study_fingerprint(resolved: ResolvedSweep, prepared: PreparedData) -> dict[str, Any]:
    """What must not change when a study is resumed; its budget may."""
    from chorale.search.config.distributions import to_optuna  # not needed to check the data

    sweep = resolved.sweep
    space = {
        owner: {name: repr(to_optuna(one)) for name, one in sorted(parameters.items())}
        for owner, parameters in sorted(resolved.space.spaces.items())
    }
    crops = {"crops per track": dict(resolved.crops)} if resolved.crops else {}
    views = {"views": dict(resolved.views)} if resolved.views else {}
    return {
        **crops,
        **views,
        "dataset": prepared.fingerprint,
        "split": prepared.split.hash,
        "features": {name: to_plain_values(config) for name, config in resolved.features.items()},
        "space": space,
        "search": to_plain_values(sweep.search),
        "train": dict(sweep.train),
        "number of epochs": sweep.budget.n_epochs,
    }


def _write_faults(
    csv: Path,
    tracks: pd.DataFrame,
    found: AuditResult,
    pairs: pd.DataFrame,
    leaking: Sequence[leaks.Leak] = (),
    accepted: Collection[str] = (),
) -> int:
    """Writes the table of all faults, if there are any; returns their number."""
    table = faults.fault_table(
        tracks,
        problems=found.problems,
        warnings=found.warnings,
        duplicates=pairs,
        leaks=leaking,
        accepted=accepted,
    )
    if len(table):
        write_text(csv, table.to_csv(index=False))
    return len(table)
