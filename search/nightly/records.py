"""The records of nights: one JSON file per night, rewritten atomically at every step.

A date has exactly one record, so it is run only once, however often it is called.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any, Literal

from chorale.datasets.atomic import write_json
from chorale.datasets.config import config, read_config
from chorale.datasets.errors import UserError
from chorale.search.paths import NightlyPaths, NightPaths

NightState = Literal["running", "done", "refused", "failed", "missed"]
FINAL_STATES: tuple[NightState, ...] = ("done", "missed")
"""A night in one of these states is never run again; one that failed or was refused may be."""

VERDICT_EXIT_CODES = {"PROMOTED": 0, "KEPT": 0, "INCONCLUSIVE": 10}
EXIT_REFUSED, EXIT_BUSY, EXIT_FAILED = 20, 75, 1
"""Exit codes of nights without a verdict."""


@config
class Night:
    """The record of one night.

    `verdict` and `reason` are set once the night is decided; `expected` is the digest of the
    champion that the candidate was compared with, `candidate` that of the candidate's bundle.
    `figures` holds the figures of the pages, JSON-ready: see `search.nightly.steps`.
    """

    date: date
    state: NightState
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
        """The exit code for the night's outcome."""
        if self.state == "done":
            return VERDICT_EXIT_CODES[self.verdict]
        return EXIT_REFUSED if self.state == "refused" else EXIT_FAILED

    @property
    def word(self) -> str:
        """The outcome in one word: the verdict, or the state."""
        return self.verdict if self.state == "done" else self.state.upper()


@dataclass(frozen=True)
class Records:
    """The records of all nights of a schedule."""

    paths: NightlyPaths

    def night(self, night: date) -> NightPaths:
        """The files of one night."""
        return self.paths.night(night)

    def read(self, night: date) -> Night | None:
        """The record of one night; None where it was never started.

        Raises:
            UserError: the record is damaged.
        """
        path = self.night(night).record_json
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise UserError(
                f"the night's record cannot be read from '{path}' ({error}); restore that file, or "
                f"delete it, and the night is run again"
            ) from None
        return read_config(Night, content, where=str(path))

    def write(self, night: Night) -> Night:
        """Writes the record of a night atomically; returns it."""
        content = {**asdict(night), "date": night.date.isoformat()}
        write_json(self.night(night.date).record_json, content)
        return night

    def all(self) -> list[Night]:
        """All records, oldest first.

        Raises:
            UserError: a record is damaged.
        """
        found = []
        for folder in sorted(self.paths.nights.glob("????-??-??")):
            try:
                one = self.read(date.fromisoformat(folder.name))
            except ValueError:  # a folder whose name is no date
                continue
            found += [] if one is None else [one]
        return found

    def last(self) -> Night | None:
        """The record of the latest night."""
        every = self.all()
        return every[-1] if every else None

    def miss(self, nights: tuple[date, ...], zone: str) -> None:
        """Records missed nights."""
        for night in nights:
            if self.read(night) is None:
                reason = "it was not run in time"
                self.write(Night(night, "missed", zone, reason=reason))

    def begin(self, night: date, *, zone: str, study: str) -> Night:
        """Records the start of a night; an interrupted night keeps its record."""
        before = self.read(night)
        if before is not None and before.state == "running":
            return before
        return self.write(Night(night, "running", zone, study=study, began_utc=now_utc()))

    def end(self, night: Night, state: NightState, **more: Any) -> Night:
        """Records the final state of a night."""
        return self.write(replace(night, state=state, ended_utc=now_utc(), **more))


def now_utc() -> str:
    """The current time, UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
