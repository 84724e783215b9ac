"""Retention: removes weights that no longer serve after a night, and what exceeds the size limit.

Predictions, scores and reports are always kept, so that every ensemble can be scored again.
"""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chorale.search.champion.registry.registry import Registry
from chorale.search.data import feature_stores
from chorale.search.ledger.reader import LedgerReader, Row
from chorale.search.ledger.stages import SEARCH
from chorale.search.nightly.config import Nightly
from chorale.search.nightly.records import Night, Records
from chorale.search.paths import StudyPaths

GB = 1e9


@dataclass
class _Removed:
    """The folders removed so far, as lines of text."""

    lines: list[str] = field(default_factory=list)

    def remove(self, folders: Iterable[Path], what: str) -> None:
        """Removes folders, and adds a line with their number and size."""
        there = [folder for folder in folders if folder.is_dir()]
        if not there:
            return
        n_bytes = disk_bytes(there)
        for folder in there:
            shutil.rmtree(folder)
        self.lines.append(f"{what}: {len(there)}, {n_bytes / 1e6:.1f} MB")


def clean_up(nightly: Nightly, records: Records, night: Night, registry: Registry) -> list[str]:
    """Removes what `retention` does not keep; returns a line for each kind of removed files.

    Args:
        nightly: the nightly file, with its retention settings.
        records: all nights.
        night: the night that was decided.
        registry: the champions; the present one always stays.
    """
    removed, keep = _Removed(), nightly.settings.retention
    study = nightly.runs.study(night.study)
    with LedgerReader(nightly.sweep.ledger_url) as ledger:
        rows = ledger.rows(night.study, SEARCH)
        # of the study, as that of the file does not depend on the data: see `for_labels`
        about = ledger.study(night.study).about
        objective = str(about.get("objective") or nightly.sweep.search.objective)
        features = feature_stores.prune(nightly.runs, ledger)
    members = map(str, night.figures.get("members", ()))
    needed = {int(one) for one in members if one.isdecimal()}  # the others are baselines
    needed |= set(_best(rows, n=keep.top, objective=objective))
    removed.remove(_weights(study, "trials", but=needed), "weights of the search's trials")
    removed.remove(_weights(study, "finalists", but=needed), "weights of finalists")
    removed.remove([records.night(night.date).bundle.root], "the candidate's bundle")
    if features:
        n_mb = sum(one.n_bytes for one in features) / 1e6
        removed.lines.append(f"cached features that no study needs: {len(features)}, {n_mb:.1f} MB")
    if keep.max_gb is not None:
        _within(keep.max_gb * GB, nightly, records, night, registry, removed)
    return removed.lines


def _within(
    limit: float,
    nightly: Nightly,
    records: Records,
    night: Night,
    registry: Registry,
    removed: _Removed,
) -> None:
    """Removes the oldest weights and bundles until the total size fits."""
    studies = [one.study for one in records.all() if one.study]
    folders = [nightly.runs.study(name).root for name in studies]
    folders += [nightly.paths.root, registry.paths.root]
    for name in [name for name in studies if name != night.study]:
        if disk_bytes(folders) <= limit:
            return
        paths = nightly.runs.study(name)
        both = [*_weights(paths, "trials"), *_weights(paths, "finalists")]
        removed.remove(both, f"over {limit / GB:g} GB: weights of {name}")
    periods = registry.history()
    present = periods[-1].digest if periods else ""
    for digest in dict.fromkeys(one.digest for one in periods):
        if disk_bytes(folders) <= limit:
            return
        if digest != present:
            label = f"over {limit / GB:g} GB: champion {digest[:12]}"
            removed.remove([registry.paths.bundle(digest).root], label)
    left = disk_bytes(folders)
    if left > limit:
        removed.lines.append(
            f"nothing more can be removed: {left / GB:.2f} GB are left, above the {limit / GB:g} "
            f"of retention.max_gb; predictions, reports and the champion are always kept"
        )


def _best(rows: dict[str, Row], *, n: int, objective: str) -> list[int]:
    """The numbers of the best trials of the search."""
    done = [row for row in rows.values() if row.state == "COMPLETE"]
    ranked = sorted(done, key=lambda row: -float(row.facts["metrics"][objective]))
    return [int(row.key) for row in ranked[:n]]


def _weights(study: StudyPaths, stage: str, *, but: Iterable[int] = ()) -> list[Path]:
    """The weights folders of all trials of a stage except the trials `but`."""
    kept = {f"{number:04d}" for number in but}
    pattern = "*/weights" if stage == "trials" else "*/*/weights"
    found = sorted((study.root / stage).glob(pattern))
    return [path for path in found if path.relative_to(study.root / stage).parts[0] not in kept]


def disk_bytes(folders: Sequence[Path]) -> int:
    """The total size in bytes of all files below the folders; hard links count once."""
    seen = {}
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                status = path.stat()
                seen[status.st_dev, status.st_ino] = status.st_size
    return sum(seen.values())
