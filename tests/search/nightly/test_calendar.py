"""Exactly one run per night, over years of clock changes, outages and repeated calls."""

import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from chorale.search.nightly.calendar import DueNights, NightlySchedule, due_nights

ZONES = (
    "Europe/Madrid",
    "America/New_York",
    "Australia/Lord_Howe",  # by half an hour
    "Africa/Casablanca",  # in 2012 also for Ramadan
    "Pacific/Apia",  # 2011 had no 30 December
)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("at", ["02:30", "00:00"])
@pytest.mark.parametrize(
    ("first_year", "n_years"),
    [
        pytest.param(2011, 2, id="two years"),
        pytest.param(2007, 10, id="ten years", marks=pytest.mark.heavy),
    ],
)
def test_nights_of_years_are_each_run_once(
    first_year: int, n_years: int, zone: str, at: str
) -> None:
    """Called about every half hour; per year, 10 outages of up to 4 days and 10 double calls."""
    schedule = NightlySchedule(at=at, until="06:00", zone=zone)
    rng = random.Random(zone + at)
    now = datetime(first_year, 1, 1, 12, tzinfo=UTC)
    end = datetime(first_year + n_years, 1, 1, 12, tzinfo=UTC)
    first = due_nights(schedule, now, None).night
    assert first is not None
    last = first
    outages = sorted(now + (end - now) * rng.random() for _ in range(10 * n_years))
    doubles = sorted(now + (end - now) * rng.random() for _ in range(10 * n_years))
    runs: Counter[date] = Counter()
    missed: Counter[date] = Counter()
    while now < end:
        now += timedelta(minutes=rng.choice((20, 30, 40)))
        if outages and now >= outages[0]:
            outages.pop(0)
            now += timedelta(hours=rng.uniform(1, 96))
        calls = 1
        if doubles and now >= doubles[0]:
            doubles.pop(0)
            calls = 2
        for _ in range(calls):
            found = due_nights(schedule, now, last)
            missed.update(found.missed)
            if found.night is not None:
                assert schedule.begin(found.night) <= now < schedule.end(found.night) + 5 * ONE_DAY
                runs[found.night] += 1
                last = found.night
    every = {first + timedelta(days=i) for i in range(1, (last - first).days + 1)}
    assert set(runs.values()) == set(missed.values()) == {1}
    assert runs.keys() | missed.keys() == every
    assert not runs.keys() & missed.keys()
    assert 4 * n_years < len(missed) < 30 * n_years


ONE_DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("night", "begins"),
    [
        (date(2026, 3, 28), datetime(2026, 3, 28, 1, 30, tzinfo=UTC)),
        (date(2026, 3, 29), datetime(2026, 3, 29, 1, 30, tzinfo=UTC)),  # there is no 2:30
        (date(2026, 10, 25), datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),  # there are two
        (date(2026, 10, 26), datetime(2026, 10, 26, 1, 30, tzinfo=UTC)),
    ],
)
def test_a_night_with_a_clock_change_starts_once(night: date, begins: datetime) -> None:
    schedule = NightlySchedule(at="02:30", zone="Europe/Madrid")
    assert schedule.begin(night) == begins
    assert due_nights(schedule, begins - MINUTE, night - ONE_DAY) == DueNights(None)
    assert due_nights(schedule, begins, night - ONE_DAY) == DueNights(night)
    for hours in range(1, 24):  # the second 2:30 is no second night
        later = begins + timedelta(hours=hours) - MINUTE
        assert due_nights(schedule, later, night) == DueNights(None)


def test_after_an_outage_the_latest_night_is_run_and_the_others_are_missed() -> None:
    schedule = NightlySchedule(at="23:00", until="05:00", zone="America/New_York")
    now = datetime(2026, 7, 10, 12, tzinfo=ZoneInfo("America/New_York"))
    found = due_nights(schedule, now, date(2026, 7, 5))
    assert found == DueNights(date(2026, 7, 9), tuple(date(2026, 7, d) for d in (6, 7, 8)))


def test_a_night_ends_after_it_starts_also_on_the_next_day() -> None:
    late = NightlySchedule(at="23:00", until="05:00", zone="UTC")
    assert late.end(date(2026, 1, 1)) == datetime(2026, 1, 2, 5, tzinfo=UTC)
    gap = NightlySchedule(at="02:10", until="03:05", zone="Europe/Madrid")
    for day in range(365):
        night = date(2026, 1, 1) + day * ONE_DAY
        assert gap.begin(night) < gap.end(night)


@pytest.mark.parametrize(
    ("values", "expected"),
    [({"zone": "Mars/Olympus"}, "no time zone 'Mars/Olympus'"), ({"at": "25:00"}, "at")],
)
def test_an_invalid_time_or_zone_is_refused(values: dict[str, str], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        NightlySchedule(**values)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a zone"):
        due_nights(NightlySchedule(), datetime(2026, 1, 1), None)
