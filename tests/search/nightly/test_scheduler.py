"""The embedded scheduler fires once per night, also at clock changes."""

import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest

from chorale.search.nightly.calendar import NightlySchedule
from chorale.search.nightly.config import Nightly, load_nightly
from chorale.search.nightly.records import Night, Records

pytest.importorskip("apscheduler", reason="APScheduler is not installed ('.[schedule]')")

from chorale.search.nightly.scheduler import NightTrigger, is_overdue, scheduler_of


@pytest.mark.parametrize("zone", ["Europe/Madrid", "America/New_York", "Australia/Lord_Howe"])
@pytest.mark.parametrize("at", ["02:30", "01:30", "00:00"])
def test_a_year_of_nights_is_fired_once_each(zone: str, at: str) -> None:
    schedule = NightlySchedule(at=at, until="06:00", zone=zone)
    trigger = NightTrigger(schedule)
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    fired: list[datetime] = []
    while len(fired) < 366:
        previous = fired[-1] if fired else None
        fired.append(trigger.get_next_fire_time(previous, now))
    first = date(2026, 1, 2) if schedule.begin(date(2026, 1, 1)) <= now else date(2026, 1, 1)
    assert fired == [schedule.begin(first + timedelta(days=i)) for i in range(366)]


def test_a_night_is_overdue_if_an_earlier_one_was_run_and_this_one_was_not(
    nightly: Nightly, recorded: Callable[..., Night]
) -> None:
    noon = datetime(2026, 11, 10, 12, tzinfo=UTC)
    assert not is_overdue(nightly, noon)
    recorded(9, "KEPT")
    assert is_overdue(nightly, noon)
    recorded(10, "KEPT")
    assert not is_overdue(nightly, noon)
    Records(nightly.paths).begin(date(2026, 11, 11), zone="UTC", study="x")
    assert is_overdue(nightly, noon + timedelta(hours=14))


def test_an_overdue_night_is_run_at_once_and_a_failure_does_not_stop_the_scheduler(
    nightly: Nightly, recorded: Callable[..., Night]
) -> None:
    recorded(1, "KEPT")
    called, lines = threading.Event(), []

    def call(one: Nightly) -> int:
        called.set()
        raise OSError("no processes left")

    done = threading.Event()

    def log(line: str) -> None:
        lines.append(line)
        done.set()

    scheduler = scheduler_of([load_nightly(nightly.file, {})], call, log)
    scheduler.start()
    try:
        assert called.wait(60)
        assert done.wait(60)
        assert scheduler.get_job("tiny").next_run_time > datetime.now(UTC)
    finally:
        scheduler.shutdown()
    assert "no processes left" in lines[0]
