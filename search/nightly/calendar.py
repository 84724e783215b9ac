"""The nightly schedule: which night is due, as a pure function of the time and of earlier nights.

Times of day are in the schedule's time zone; everything that is stored or compared is in UTC. A
night is identified by its local date, so there is exactly one per date, also at clock changes.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field

from chorale.datasets.config import config

CLOCK = r"^([01]\d|2[0-3]):[0-5]\d$"
ONE_DAY = timedelta(days=1)


@config
class NightlySchedule:
    """When nights start, and when their search must have ended."""

    at: Annotated[str, Field(pattern=CLOCK)] = "01:00"
    """the time of day at which a night starts, HH:MM"""
    until: Annotated[str, Field(pattern=CLOCK)] = "06:00"
    """the time of day by which it ends, HH:MM; where it is not later than `at`, on the next day"""
    zone: str = "UTC"
    """the time zone of both, such as Europe/Madrid"""

    def __post_init__(self) -> None:
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(
                f"there is no time zone '{self.zone}'; give one such as Europe/Madrid or UTC"
            ) from None

    def begin(self, night: date) -> datetime:
        """The start of the night, UTC.

        A time of day that a clock change skips is read as before the change; of one that occurs
        twice the first is taken.
        """
        return _utc(night, self.at, self.zone)

    def end(self, night: date) -> datetime:
        """The end of the night, UTC: at least a minute after its start."""
        same_day = _clock(self.until) > _clock(self.at)
        end = _utc(night if same_day else night + ONE_DAY, self.until, self.zone)
        return max(end, self.begin(night) + timedelta(minutes=1))


@dataclass(frozen=True)
class DueNights:
    """The night to run now, if any, and the nights that were missed before it."""

    night: date | None
    missed: tuple[date, ...] = ()


def due_nights(schedule: NightlySchedule, now: datetime, last: date | None) -> DueNights:
    """The latest night that has started and was not run; those since the last one are missed.

    So after an outage one night is run, and not all missed ones.

    Args:
        schedule: when nights start.
        now: the time, with a time zone.
        last: the last night that was run or recorded as missed; None where there was none.

    Raises:
        ValueError: `now` has no time zone.
    """
    if now.tzinfo is None:
        raise ValueError(f"the time needs a zone, but got {now=}")
    latest = now.astimezone(ZoneInfo(schedule.zone)).date()
    while schedule.begin(latest) > now:
        latest -= ONE_DAY
    if last is None:
        return DueNights(latest)
    if latest <= last:
        return DueNights(None)
    n_between = (latest - last).days - 1
    return DueNights(latest, tuple(last + (i + 1) * ONE_DAY for i in range(n_between)))


def _clock(text: str) -> time:
    hour, minute = map(int, text.split(":"))
    return time(hour, minute)


def _utc(day: date, clock: str, zone: str) -> datetime:
    return datetime.combine(day, _clock(clock), ZoneInfo(zone)).astimezone(UTC)
