"""One nightly run: finds the due night, takes the lock, runs its steps, writes pages, notifies."""

import traceback
from collections.abc import Callable
from datetime import UTC, date, datetime

from rich.console import Console

from chorale.cluster.base import ClusterError
from chorale.datasets.errors import UserError
from chorale.search.console.log_file import kept_log
from chorale.search.console.progress import Progress
from chorale.search.monitoring.monitor import SweepMonitor
from chorale.search.nightly.calendar import ONE_DAY, due_nights
from chorale.search.nightly.changes import DataRefusedError
from chorale.search.nightly.config import Nightly
from chorale.search.nightly.night_lock import night_lock
from chorale.search.nightly.notify import notify
from chorale.search.nightly.pages import write_pages
from chorale.search.nightly.records import FINAL_STATES, Night, Records
from chorale.search.nightly.steps import NightSteps


def run_night(
    nightly: Nightly,
    *,
    console: Console,
    night: date | None = None,
    accept: bool = False,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    monitor: SweepMonitor | None = None,
) -> Night | None:
    """Runs the night that is due, or `night`; returns its record.

    None where none is due; for a night that was already run, its record, without running it again.

    Args:
        nightly: the nightly file.
        console: where progress is printed.
        night: a date to run, whatever the time is.
        accept: accept the data as it is, whatever changed.
        clock: gives the time, with a zone.
        monitor: gets what is measured while its sweep runs.

    Raises:
        BusyError: another process is running a night.
        UserError: a record is damaged.
        KeyboardInterrupt: interrupted; the next call resumes the night.
    """
    with night_lock(nightly.paths.lock, name=nightly.name):
        records, progress = Records(nightly.paths), Progress(console)
        chosen = night or _due(nightly, records, clock(), progress)
        if chosen is None:
            return None
        before = records.read(chosen)
        if before is not None and before.state in FINAL_STATES:
            then = nightly.settings.schedule.begin(chosen + ONE_DAY)
            progress.stage(
                "night",
                f"{chosen} was already run: {before.word}, {before.reason}; the next one "
                f"starts at {then:%Y-%m-%d %H:%M} UTC",
            )
            return before
        record = records.begin(chosen, zone=nightly.settings.schedule.zone, study="")
        progress.stage("night", f"{chosen} of '{nightly.name}'")
        one = NightSteps(nightly, records, progress, clock, accept, monitor=monitor)
        log = kept_log(console, records.night(chosen).log_txt)
        try:
            with log as begin_log, progress.keep_alive("night"):
                begin_log()
                record = one.run(record)
        except DataRefusedError as error:
            record = records.end(one.record or record, "refused", reason=str(error))
        except (UserError, ClusterError) as error:
            record = records.end(one.record or record, "failed", reason=str(error))
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            reason = f"{type(error).__name__}: {error} ({last.filename}:{last.lineno})"
            record = records.end(one.record or record, "failed", reason=reason)
            _publish(nightly, records, record, progress)
            raise
        return _publish(nightly, records, record, progress)


def _due(nightly: Nightly, records: Records, now: datetime, progress: Progress) -> date | None:
    """The night that is due; records missed nights, and unfinished ones as failed."""
    schedule, last = nightly.settings.schedule, records.last()
    found = due_nights(schedule, now, None if last is None else last.date)
    if found.night is None:  # the last one is tonight's: already run, or interrupted
        return None if last is None else last.date
    if last is not None and last.state == "running":
        records.end(last, "failed", reason="it was interrupted, and not resumed in time")
    if found.missed:
        records.miss(found.missed, schedule.zone)
        days = ", ".join(map(str, found.missed[:5])) + (" ..." if len(found.missed) > 5 else "")
        progress.stage("missed", f"{len(found.missed)} nights were missed: {days}")
    return found.night


def _publish(nightly: Nightly, records: Records, record: Night, progress: Progress) -> Night:
    """Writes the pages, prints the outcome of the night, and sends notifications."""
    write_pages(nightly, records, record)
    progress.stage("verdict", f"{record.word}: {record.reason}")
    for line in notify(nightly, record):
        progress.stage("notify", line)
    progress.stage("pages", f"{records.night(record.date).report_html}, {nightly.paths.trend_html}")
    return record
