"""The embedded scheduler (APScheduler): starts the nights that `search.nightly.calendar` finds due.

Each night runs in a process of its own, so a crash does not affect the next one.
"""

import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from chorale.search.nightly.calendar import ONE_DAY, NightlySchedule, due_nights
from chorale.search.nightly.config import Nightly
from chorale.search.nightly.records import Records

Call = Callable[[Nightly], int]

EXIT_CODE_TEXTS = {0: "a verdict", 10: "inconclusive", 20: "the data was refused", 75: "busy"}


class NightTrigger(BaseTrigger):  # type: ignore[misc]
    """Fires at the start of every night, also at clock changes."""

    def __init__(self, schedule: NightlySchedule) -> None:
        """A trigger for one schedule."""
        self.schedule = schedule

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        """The first start of a night after `previous`, or from `now` on where there is none."""
        after = now - timedelta(microseconds=1) if previous is None else previous
        night = due_nights(self.schedule, after, None).night
        if night is None:
            raise ValueError(f"there is always a latest night, but got none at {after=}")
        while self.schedule.begin(night) <= after:
            night += ONE_DAY
        return self.schedule.begin(night)


def scheduler_of(
    nightlies: Sequence[Nightly], call: Call, log: Callable[[str], None]
) -> BackgroundScheduler:
    """A scheduler with a job for each file, not started.

    A night that becomes due while the previous one is running ends at that one's lock; of nights
    that were missed while the machine slept, one is run when it wakes.
    """
    scheduler = BackgroundScheduler(timezone=UTC)
    for one in nightlies:
        scheduler.add_job(
            _called, NightTrigger(one.settings.schedule), args=[one, call, log], id=one.name,
            coalesce=True, max_instances=2, misfire_grace_time=None,
        )  # fmt: skip
        if is_overdue(one, datetime.now(UTC)):
            scheduler.add_job(_called, args=[one, call, log], id=f"{one.name} (overdue)",
                              misfire_grace_time=None)  # fmt: skip

    def failed(event: JobExecutionEvent) -> None:
        log(f"{event.job_id}: {event.exception}")

    scheduler.add_listener(failed, EVENT_JOB_ERROR)
    return scheduler


def is_overdue(nightly: Nightly, now: datetime) -> bool:
    """Whether a night is late or was interrupted; never before the first one."""
    last = Records(nightly.paths).last()
    if last is None:
        return False
    is_late = due_nights(nightly.settings.schedule, now, last.date).night is not None
    return is_late or last.state == "running"


def run_scheduler(
    nightlies: Sequence[Nightly], *, more: Sequence[str], log: Callable[[str], None]
) -> None:
    """Runs the scheduler until it is interrupted.

    Raises:
        KeyboardInterrupt: interrupted; running nights are interrupted, too, and resumed later.
    """
    running: list[subprocess.Popen[bytes]] = []

    def call(nightly: Nightly) -> int:
        command = [sys.executable, "-m", "chorale.search", "nightly", nightly.file, *more]
        process = subprocess.Popen(command)
        running.append(process)
        try:
            return process.wait()
        finally:
            running.remove(process)

    scheduler = scheduler_of(nightlies, call, log)
    scheduler.start()
    for one in nightlies:
        job = scheduler.get_job(one.name)
        log(f"{one.name}: the next night starts at {job.next_run_time:%Y-%m-%d %H:%M} UTC")
    try:
        threading.Event().wait()
    finally:
        scheduler.shutdown(wait=False)
        for process in list(running):
            process.terminate()
        for process in list(running):
            process.wait()


def _called(nightly: Nightly, call: Call, log: Callable[[str], None]) -> None:
    code = call(nightly)
    log(f"{nightly.name}: ended with {code} ({EXIT_CODE_TEXTS.get(code, 'it failed')})")
