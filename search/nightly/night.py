"""One night: which is due, the lock, its steps, and what is told of it, whatever became of it."""

import traceback
from collections.abc import Callable
from datetime import UTC, date, datetime

from rich.console import Console
from rich.markup import escape

from chorale.cluster.base import ClusterError
from chorale.datasets.errors import UserError
from chorale.search.console.progress import Progress
from chorale.search.nightly.calendar import ONE_DAY, due
from chorale.search.nightly.changes import DataRefusedError
from chorale.search.nightly.config import Nightly
from chorale.search.nightly.lock import one_at_a_time
from chorale.search.nightly.notify import notify
from chorale.search.nightly.pages import write_pages
from chorale.search.nightly.records import OVER, Night, Records
from chorale.search.nightly.steps import Steps


def run_night(
    nightly: Nightly,
    *,
    console: Console,
    night: date | None = None,
    accept: bool = False,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Night | None:
    """Runs the night that is due, or `night`; gives what became of it.

    None where none is due; a night that was run before is given as it is, and not run again.

    Args:
        nightly: what to run.
        console: where progress is told.
        night: a date, whatever the clock says.
        accept: take the data as it is, whatever changed.
        clock: tells the time, with a zone.

    Raises:
        BusyError: another process runs one.
        UserError: a record is damaged.
        KeyboardInterrupt: interrupted; called again, the night goes on.
    """
    with one_at_a_time(nightly.paths.lock, name=nightly.name):
        records, progress = Records(nightly.paths), Progress(console)
        chosen = night or _due(nightly, records, clock(), progress)
        if chosen is None:
            return None
        before = records.read(chosen)
        if before is not None and before.state in OVER:
            then = nightly.ballot.schedule.begin(chosen + ONE_DAY)
            progress.stage(
                "night",
                f"{chosen} was run already: {before.word}, {escape(before.reason)}; the next one "
                f"begins at {then:%Y-%m-%d %H:%M} UTC",
            )
            return before
        record = records.begin(chosen, zone=nightly.ballot.schedule.zone, study="")
        progress.stage("night", f"{chosen} of '{nightly.name}'")
        one = Steps(nightly, records, progress, clock, accept)
        try:
            with progress.never_silent("night"):
                record = one.run(record)
        except DataRefusedError as error:
            record = records.end(one.record or record, "refused", reason=str(error))
        except (UserError, ClusterError) as error:
            record = records.end(one.record or record, "failed", reason=str(error))
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            reason = f"{type(error).__name__}: {error} ({last.filename}:{last.lineno})"
            record = records.end(one.record or record, "failed", reason=reason)
            _tell(nightly, records, record, progress)
            raise
        return _tell(nightly, records, record, progress)


def _due(nightly: Nightly, records: Records, now: datetime, progress: Progress) -> date | None:
    """Which night is due; notes those that were missed, and those that nobody went on with."""
    schedule, last = nightly.ballot.schedule, records.last()
    found = due(schedule, now, None if last is None else last.date)
    if found.night is None:  # the last one is tonight's: run already, or broken off
        return None if last is None else last.date
    if last is not None and last.state == "running":
        records.end(last, "failed", reason="it broke off, and nobody went on with it in time")
    if found.missed:
        records.miss(found.missed, schedule.zone)
        days = ", ".join(map(str, found.missed[:5])) + (" ..." if len(found.missed) > 5 else "")
        progress.stage("missed", f"{len(found.missed)} nights were not run in time: {days}")
    return found.night


def _tell(nightly: Nightly, records: Records, record: Night, progress: Progress) -> Night:
    """Writes the pages, says what became of the night, and notifies."""
    write_pages(nightly, records, record)
    progress.stage("verdict", f"{record.word}: {escape(record.reason)}")
    for line in notify(nightly, record):
        progress.stage("notify", escape(line))
    progress.stage("pages", f"{records.night(record.date).report_html}, {nightly.paths.trend_html}")
    return record
