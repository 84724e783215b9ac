"""What became of each night: one small file a night, written whole at every step of it.

A date has one record, so it has one run, whoever calls it and how often.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any, Literal

from chorale.datasets.atomic import write_json
from chorale.datasets.config import config, read
from chorale.datasets.errors import UserError
from chorale.search.paths import NightlyPaths, NightPaths

State = Literal["running", "done", "refused", "failed", "missed"]
OVER: tuple[State, ...] = ("done", "missed")
"""A night of these is never run again; one that failed, was refused or died may be."""

CODES = {"PROMOTED": 0, "KEPT": 0, "INCONCLUSIVE": 10}
REFUSED, BUSY, FAILED = 20, 75, 1
"""Exit codes besides those of verdicts."""


@config
class Night:
    """One night of a schedule.

    `verdict` and `reason` are there when it is decided; `expected` is the champion's digest that it
    was decided against, `candidate` that of its own bundle. `figures` holds what the pages tell,
    JSON-ready: see `search.nightly.steps`.
    """

    date: date
    state: State
    zone: str
    study: str = ""
    began_utc: str = ""
    ended_utc: str = ""
    verdict: str = ""
    reason: str = ""
    expected: str | None = None
    candidate: str = ""
    champion: str = ""
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def code(self) -> int:
        """The exit code that says what became of it."""
        if self.state == "done":
            return CODES[self.verdict]
        return REFUSED if self.state == "refused" else FAILED

    @property
    def word(self) -> str:
        """The one word that it ended with."""
        return self.verdict if self.state == "done" else self.state.upper()


@dataclass(frozen=True)
class Records:
    """All nights of a schedule."""

    paths: NightlyPaths

    def night(self, night: date) -> NightPaths:
        """The files of one."""
        return self.paths.night(night)

    def read(self, night: date) -> Night | None:
        """What became of one; None where nobody has begun it.

        Raises:
            UserError: its record is damaged.
        """
        path = self.night(night).record_json
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise UserError(
                f"what became of the night cannot be read from '{path}' ({error}); restore that "
                f"file, or delete it, and the night is run again"
            ) from None
        return read(Night, content, where=str(path))

    def write(self, night: Night) -> Night:
        """Writes what became of a night by now, wholly; gives it back."""
        content = {**asdict(night), "date": night.date.isoformat()}
        write_json(self.night(night.date).record_json, content)
        return night

    def all(self) -> list[Night]:
        """Every night that has a record, oldest first.

        Raises:
            UserError: a record is damaged.
        """
        found = []
        for folder in sorted(self.paths.nights.glob("????-??-??")):
            try:
                one = self.read(date.fromisoformat(folder.name))
            except ValueError:  # no night's folder
                continue
            found += [] if one is None else [one]
        return found

    def last(self) -> Night | None:
        """The latest night that was run, begun or missed."""
        every = self.all()
        return every[-1] if every else None

    def miss(self, nights: tuple[date, ...], zone: str) -> None:
        """Notes nights that nobody ran in time."""
        for night in nights:
            if self.read(night) is None:
                reason = "nobody ran it in time"
                self.write(Night(night, "missed", zone, reason=reason))

    def begin(self, night: date, *, zone: str, study: str) -> Night:
        """Notes that a night is run; of one that broke off, what it had decided stays."""
        before = self.read(night)
        if before is not None and before.state == "running":
            return before
        return self.write(Night(night, "running", zone, study=study, began_utc=now_utc()))

    def end(self, night: Night, state: State, **more: Any) -> Night:
        """Notes how it ended."""
        return self.write(replace(night, state=state, ended_utc=now_utc(), **more))


def now_utc() -> str:
    """The time, UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
