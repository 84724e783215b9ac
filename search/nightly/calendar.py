"""Which night is due: a pure function of the clock, the schedule and the nights that were run.

Times of day are of the schedule's zone; everything that is kept or compared is UTC. A night is
named by its local date, so that there is one for each date, also where the clocks change.
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
class Schedule:
    """When nights begin, and when their search must have ended."""

    at: Annotated[str, Field(pattern=CLOCK)] = "01:00"
    """the time of day at which a night begins, HH:MM"""
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
        """When the night begins, UTC.

        A time of day that the clocks leave out counts as if they had not been put forward yet, one
        that comes twice is the first.
        """
        return _utc(night, self.at, self.zone)

    def end(self, night: date) -> datetime:
        """When it ends, UTC: always after it begins."""
        same_day = _clock(self.until) > _clock(self.at)
        end = _utc(night if same_day else night + ONE_DAY, self.until, self.zone)
        return max(end, self.begin(night) + timedelta(minutes=1))


@dataclass(frozen=True)
class Due:
    """What is to be done now: the night to run, if any, and those that nobody ran in time."""

    night: date | None
    missed: tuple[date, ...] = ()


def due(schedule: Schedule, now: datetime, last: date | None) -> Due:
    """The latest night that has begun and was not run; those between it and the last are missed.

    So after an outage one night is run, and not all that were slept through.

    Args:
        schedule: when nights begin.
        now: with a time zone.
        last: the last night that was run or noted as missed; None where there was none.

    Raises:
        ValueError: `now` has no time zone.
    """
    if now.tzinfo is None:
        raise ValueError(f"the time needs a zone, but got {now=}")
    latest = now.astimezone(ZoneInfo(schedule.zone)).date()
    while schedule.begin(latest) > now:
        latest -= ONE_DAY
    if last is None:
        return Due(latest)
    if latest <= last:
        return Due(None)
    n_between = (latest - last).days - 1
    return Due(latest, tuple(last + (i + 1) * ONE_DAY for i in range(n_between)))


def _clock(text: str) -> time:
    hour, minute = map(int, text.split(":"))
    return time(hour, minute)


def _utc(day: date, clock: str, zone: str) -> datetime:
    return datetime.combine(day, _clock(clock), ZoneInfo(zone)).astimezone(UTC)
