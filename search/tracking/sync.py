"""Compares a study's ledger with a tracker, and writes what the tracker lacks.

Idempotent: whatever process died in between, the next sync finds each run by its key, completes it,
and creates only those that are not there. What the tracker has is read from the tracker itself; a
`StudySync` keeps it in memory, and reads it again after any failure.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from chorale.datasets import plugins
from chorale.datasets.lock_file import exclusive_lock
from chorale.search.config.track_config import TrackConfig
from chorale.search.ledger.reader import LedgerReader, Row
from chorale.search.ledger.stages import FINALISTS, SEARCH
from chorale.search.paths import StudyPaths
from chorale.search.tracking import trackers
from chorale.search.tracking.base import RunContent, TrackedRun, Tracker
from chorale.search.tracking.content import row_content, stages_of, study_content, study_id

ShowProgress = Callable[[int, int], None]
"""Called with how many of the runs that have changed are compared, and their number."""


def open_tracker(track: TrackConfig) -> Tracker:
    """The tracker of a sweep file, without asking its server anything.

    Raises:
        UserError: there is no tracker of that name, or it is not named where its server is.
    """
    plugin = plugins.load_plugin(trackers, track.name, kind="tracker")
    opened: Tracker = plugin.open_server(track.uri, track.experiment)
    return opened


@dataclass
class Written:
    """What one sync did: numbers of runs, and a line for whatever the tracker does not take."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    doubles_removed: int = 0
    left_out: list[str] = field(default_factory=list)


class StudySync:
    """One study and one tracker. One process at a time writes, others wait for it."""

    def __init__(
        self, study: str, paths: StudyPaths, tracker: Tracker, show: ShowProgress | None = None
    ) -> None:
        """Reads nothing yet."""
        self._study, self._paths, self._tracker = study, paths, tracker
        self._show = show
        self._id = ""
        self._runs: dict[str, TrackedRun] | None = None
        self._rows: dict[tuple[str, str], Row] = {}

    def run(self, ledger: LedgerReader, *, closing: bool = False) -> Written:
        """Writes what the tracker lacks; `closing`: and then looks for runs that are there twice.

        That is where the request of a process that was killed arrives after the next process has
        looked.

        Raises:
            TrackerError: the tracker cannot be used; what was written stays, and is not repeated.
            UserError: the ledger cannot be read, or has no such study.
        """
        try:
            with self._alone():
                return self._write_all(ledger, closing=closing)
        except BaseException:
            self._runs = None  # a request without an answer may have been obeyed
            raise

    def _write_all(self, ledger: LedgerReader, *, closing: bool) -> Written:
        written, info = Written(), ledger.study(self._study)
        if self._runs is None or self._id != study_id(info):
            self._id, self._rows = study_id(info), {}
            self._runs = self._read(written)
        study = study_content(ledger, info, self._paths)
        parent = self._find_or_create(study, "", self._runs, written)
        rows = {stage: ledger.rows(self._study, stage) for stage in (SEARCH, FINALISTS)}
        changed = [
            (stage, row)
            for stage, row in stages_of(rows)
            if self._rows.get((stage, row.key)) != row
        ]
        began_s = ledger.times(self._study) if changed else {}
        written.unchanged += sum(map(len, rows.values())) - len(changed)
        for n_done, (stage, row) in enumerate(changed, start=1):
            content = row_content(
                row,
                stage,
                info=info,
                paths=self._paths,
                began_s=began_s,
                searched=rows[SEARCH],
            )
            self._write(content, parent.id, self._runs, written)
            self._rows[stage, row.key] = row
            if self._show is not None:
                self._show(n_done, len(changed))
        # last, so that a study that is complete has all of its runs
        self._write(study, "", self._runs, written)
        if closing and written.created:
            self._runs = self._read(written)
        return written

    def _read(self, written: Written) -> dict[str, TrackedRun]:
        """The tracker's runs by key; of those that are there twice, all but one are removed.

        The one that is complete stays, or else the first by its id: every process keeps the same.
        """
        found: dict[str, TrackedRun] = {}
        order = _in_order(self._tracker.runs(self._id))
        for run in order:
            if run.key in found:
                self._tracker.remove(run)
                written.doubles_removed += 1
            else:
                found[run.key] = run
        return found

    def _find_or_create(
        self, content: RunContent, parent: str, runs: dict[str, TrackedRun], written: Written
    ) -> TrackedRun:
        if content.key not in runs:
            runs[content.key] = self._tracker.create(self._id, content, parent)
            written.created += 1
        return runs[content.key]

    def _write(
        self, content: RunContent, parent: str, runs: dict[str, TrackedRun], written: Written
    ) -> None:
        run = self._find_or_create(content, parent, runs, written)
        if run.version == content.version and run.parent == parent:
            written.unchanged += 1
            return
        written.left_out += self._tracker.write(run, content, parent)
        written.updated += not run.is_new
        runs[content.key] = TrackedRun(run.id, content.key, content.version, parent)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time. Where the study has no folder here, doubles are found later."""
        folder = self._paths.root.is_dir()
        lock = exclusive_lock(self._paths.tracking_lock, wait=True)
        with lock if folder else contextlib.nullcontext():
            yield


def _in_order(runs: Iterable[TrackedRun]) -> list[TrackedRun]:
    return sorted(runs, key=lambda run: (not run.version, run.id))
