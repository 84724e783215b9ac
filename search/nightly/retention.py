"""What is removed after a night: weights that nobody needs any more, and what is over the limit.

Predictions, scores and reports always stay, so that every ensemble can be scored again.
"""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chorale.search.champion.registry.registry import Shelf
from chorale.search.data import feature_stores
from chorale.search.ledger.reader import LedgerReader, Row
from chorale.search.ledger.stages import SEARCH
from chorale.search.nightly.config import Nightly
from chorale.search.nightly.records import Night, Records
from chorale.search.paths import StudyPaths

GB = 1e9


@dataclass
class _Removed:
    """Lines that say what was removed."""

    lines: list[str] = field(default_factory=list)

    def remove(self, folders: Iterable[Path], what: str) -> None:
        """Removes whole folders, and says how many and how large they were."""
        there = [folder for folder in folders if folder.is_dir()]
        if not there:
            return
        n_bytes = size(there)
        for folder in there:
            shutil.rmtree(folder)
        self.lines.append(f"{what}: {len(there)}, {n_bytes / 1e6:.1f} MB")


def clean_up(nightly: Nightly, records: Records, night: Night, shelf: Shelf) -> list[str]:
    """Removes what `retention` does not keep; gives a line for each kind of thing that went.

    Args:
        nightly: says what is kept.
        records: all nights.
        night: the one that was decided.
        shelf: the champions; the present one always stays.
    """
    gone, keep = _Removed(), nightly.ballot.retention
    study = nightly.runs.study(night.study)
    ledger = LedgerReader(nightly.sweep.ledger_url)
    try:
        rows = ledger.rows(night.study, SEARCH)
        features = feature_stores.prune(nightly.runs, ledger)
    finally:
        ledger.close()
    members = map(str, night.figures.get("members", ()))
    needed = {int(one) for one in members if one.isdecimal()}  # the others are baselines
    needed |= set(_best(rows, n=keep.top, objective=nightly.sweep.search.objective))
    gone.remove(_weights(study, "trials", but=needed), "weights of the search's trials")
    gone.remove(_weights(study, "finalists", but=needed), "weights of finalists")
    gone.remove([records.night(night.date).bundle.root], "the candidate's bundle")
    if features:
        n_mb = sum(one.n_bytes for one in features) / 1e6
        gone.lines.append(f"cached features that no study needs: {len(features)}, {n_mb:.1f} MB")
    if keep.max_gb is not None:
        _within(keep.max_gb * GB, nightly, records, night, shelf, gone)
    return gone.lines


def _within(
    limit: float, nightly: Nightly, records: Records, night: Night, shelf: Shelf, gone: _Removed
) -> None:
    """Removes the oldest first until all of it fits."""
    studies = [one.study for one in records.all() if one.study]
    folders = [nightly.runs.study(name).root for name in studies]
    folders += [nightly.paths.root, shelf.paths.root]
    for name in [name for name in studies if name != night.study]:
        if size(folders) <= limit:
            return
        paths = nightly.runs.study(name)
        both = [*_weights(paths, "trials"), *_weights(paths, "finalists")]
        gone.remove(both, f"over {limit / GB:g} GB: weights of {name}")
    reigns = shelf.history()
    present = reigns[-1].digest if reigns else ""
    for digest in dict.fromkeys(one.digest for one in reigns):
        if size(folders) <= limit:
            return
        if digest != present:
            gone.remove([shelf.paths.bundle(digest).root], f"over {limit / GB:g} GB: champion "
                        f"{digest[:12]}")  # fmt: skip
    left = size(folders)
    if left > limit:
        gone.lines.append(
            f"nothing more can go, and {left / GB:.2f} GB are left of the {limit / GB:g} that "
            f"retention.max_gb allows: predictions, reports and the champion stay"
        )


def _best(rows: dict[str, Row], *, n: int, objective: str) -> list[int]:
    """The numbers of the best trials of the search."""
    done = [row for row in rows.values() if row.state == "COMPLETE"]
    ranked = sorted(done, key=lambda row: -float(row.facts["metrics"][objective]))
    return [int(row.key) for row in ranked[:n]]


def _weights(study: StudyPaths, stage: str, *, but: Iterable[int] = ()) -> list[Path]:
    """The folders with weights of all trials of a stage `but` those."""
    kept = {f"{number:04d}" for number in but}
    pattern = "*/weights" if stage == "trials" else "*/*/weights"
    found = sorted((study.root / stage).glob(pattern))
    return [path for path in found if path.relative_to(study.root / stage).parts[0] not in kept]


def size(folders: Sequence[Path]) -> int:
    """Bytes on the disk of all files below the folders; one with several names counts once."""
    seen = {}
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                status = path.stat()
                seen[status.st_dev, status.st_ino] = status.st_size
    return sum(seen.values())
