"""The embedded scheduler: APScheduler keeps the time, `search.nightly.calendar` says which.

Each night is a process of its own, so that whatever it does to itself, the next one is called.
"""

import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from chorale.search.nightly.calendar import ONE_DAY, Schedule, due
from chorale.search.nightly.config import Nightly
from chorale.search.nightly.records import Records

Call = Callable[[Nightly], int]

WORDS = {0: "a verdict", 10: "inconclusive", 20: "the data was refused", 75: "busy"}


class NightTrigger(BaseTrigger):  # type: ignore[misc]
    """Fires at the begin of every night, also of those in which the clocks change."""

    def __init__(self, schedule: Schedule) -> None:
        """Keeps the schedule."""
        self.schedule = schedule

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        """The first begin after `previous`, or from `now` on where there is none."""
        after = now - timedelta(microseconds=1) if previous is None else previous
        night = due(self.schedule, after, None).night
        if night is None:
            raise ValueError(f"there is always a latest night, but got none at {after=}")
        while self.schedule.begin(night) <= after:
            night += ONE_DAY
        return self.schedule.begin(night)


def scheduler_of(
    nightlies: Sequence[Nightly], call: Call, say: Callable[[str], None]
) -> BackgroundScheduler:
    """A scheduler with a job for each file, not started.

    A night that comes while the one before is still run is left to the latter's lock; one that the
    machine slept through is called once, when it wakes.
    """
    scheduler = BackgroundScheduler(timezone=UTC)
    for one in nightlies:
        scheduler.add_job(
            _called, NightTrigger(one.ballot.schedule), args=[one, call, say], id=one.name,
            coalesce=True, max_instances=2, misfire_grace_time=None,
        )  # fmt: skip
        if is_owed(one, datetime.now(UTC)):
            scheduler.add_job(_called, args=[one, call, say], id=f"{one.name} (owed)",
                              misfire_grace_time=None)  # fmt: skip

    def failed(event: JobExecutionEvent) -> None:
        say(f"{event.job_id}: {event.exception}")

    scheduler.add_listener(failed, EVENT_JOB_ERROR)
    return scheduler


def is_owed(nightly: Nightly, now: datetime) -> bool:
    """Whether a night should have been run by now, or broke off; never before the first one."""
    last = Records(nightly.paths).last()
    if last is None:
        return False
    is_late = due(nightly.ballot.schedule, now, last.date).night is not None
    return is_late or last.state == "running"


def serve(nightlies: Sequence[Nightly], *, more: Sequence[str], say: Callable[[str], None]) -> None:
    """Stays until it is interrupted.

    Raises:
        KeyboardInterrupt: it was; nights that are being run are interrupted, too, and go on later.
    """
    running: list[subprocess.Popen[bytes]] = []

    def call(nightly: Nightly) -> int:
        words = [sys.executable, "-m", "chorale.search", "nightly", nightly.file, *more]
        process = subprocess.Popen(words)
        running.append(process)
        try:
            return process.wait()
        finally:
            running.remove(process)

    scheduler = scheduler_of(nightlies, call, say)
    scheduler.start()
    for one in nightlies:
        job = scheduler.get_job(one.name)
        say(f"{one.name}: the next night begins at {job.next_run_time:%Y-%m-%d %H:%M} UTC")
    try:
        threading.Event().wait()
    finally:
        scheduler.shutdown(wait=False)
        for process in list(running):
            process.terminate()
        for process in list(running):
            process.wait()


def _called(nightly: Nightly, call: Call, say: Callable[[str], None]) -> None:
    code = call(nightly)
    say(f"{nightly.name}: ended with {code} ({WORDS.get(code, 'it failed')})")
