"""Listening history: reads a CSV with a row for each play or each track.

`search.champion.library.taste_from_history` looks up its tracks.
"""

import csv
import difflib
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from chorale.datasets.errors import UserError, join_first

HISTORY_COLUMNS = ("path", "title", "artist", "plays", "timestamp")
HALF_LIFE_DAYS = 180.0
"""Half-life of a play's weight."""

_DAY_S = 86_400


@dataclass(frozen=True)
class Play:
    """A row of the history: the track, and its weight, above 0.

    `line` is its line number; 0 for a file that was given on the command line.
    """

    line: int
    path: str
    title: str
    artist: str
    weight: float

    @property
    def display_name(self) -> str:
        """The track's name in messages."""
        return self.path or " - ".join(part for part in (self.artist, self.title) if part)


def read_history(path: Path) -> tuple[Play, ...]:
    """Reads the rows. A row without `plays` is one play, one with 0 plays is left out.

    `timestamp` is ISO 8601 or seconds since 1970; the weight of a row that has one halves for every
    `HALF_LIFE_DAYS` before the latest.

    Raises:
        UserError: lists all problems of the file, or states that it has no plays.
    """
    rows = _rows(path)
    problems: list[str] = []
    plays: list[Play] = []
    times: list[float | None] = []
    for line, row in rows:
        try:
            n_plays, time_s = _plays(row.get("plays", "")), _time_s(row.get("timestamp", ""))
        except ValueError as error:
            problems.append(f"line {line}: {error}")
            continue
        names = {name: row.get(name, "") for name in ("path", "title", "artist")}
        if not names["path"] and not names["title"]:
            problems.append(f"line {line}: expected a path, or a title")
        elif n_plays:
            plays.append(Play(line, weight=n_plays, **names))
            times.append(time_s)
    if problems:
        every = join_first(problems, between="\n  ")
        raise UserError(f"history '{path}' has errors to fix:\n  {every}")
    if not plays:
        raise UserError(
            f"history '{path}' is empty: expected a row below the header "
            f"'{','.join(HISTORY_COLUMNS)}' (path, or title and artist; the rest is optional)"
        )
    latest = max((one for one in times if one is not None), default=0.0)
    return tuple(_faded(play, time_s, latest) for play, time_s in zip(plays, times, strict=True))


def _faded(play: Play, time_s: float | None, latest_s: float) -> Play:
    if time_s is None:
        return play
    age_days = (latest_s - time_s) / _DAY_S
    # above 0, so that the sum of weights is never 0
    share = max(0.5 ** (age_days / HALF_LIFE_DAYS), 1e-12)
    return Play(play.line, play.path, play.title, play.artist, play.weight * share)


def _rows(path: Path) -> list[tuple[int, Mapping[str, str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")  # Excel begins with a byte order mark
        reader = csv.DictReader(io.StringIO(text, newline=""), restval="", restkey="")
        columns = [name.strip().lower() for name in reader.fieldnames or ()]
        if columns:
            _check_columns(path, columns)
        reader.fieldnames = columns
        return [
            (reader.line_num, {name: str(cell).strip() for name, cell in row.items()})
            for row in reader
        ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"history '{path}' is not a CSV file in UTF-8 ({error}); save it as 'CSV UTF-8'"
        ) from None
    except OSError as error:
        raise UserError(
            f"history '{path}' cannot be read ({error.strerror}); give another with --history CSV"
        ) from None


def _check_columns(path: Path, columns: list[str]) -> None:
    wrong = [name for name in columns if name not in HISTORY_COLUMNS]
    twice = sorted({name for name in columns if columns.count(name) > 1})
    nothing = "path" not in columns and "title" not in columns
    if not wrong and not twice and not nothing:
        return
    problems = []
    if wrong:
        near = {
            name: difflib.get_close_matches(name, HISTORY_COLUMNS, n=1, cutoff=0.5)
            for name in wrong
        }
        hints = [f"'{name}'{f' (nearest: {n[0]})' if n else ''}" for name, n in near.items()]
        problems.append(f"has unknown columns: {join_first(hints)}")
    if twice:
        problems.append(f"has columns twice: {join_first(twice)}")
    if nothing:
        problems.append("has neither the column path nor title")
    raise UserError(
        f"history '{path}' {' and '.join(problems)}; its first line may name "
        f"{','.join(HISTORY_COLUMNS)}, separated by commas, and must name path or title"
    )


def _plays(text: str) -> float:
    if not text:
        return 1.0
    try:
        n = float(text)
    except ValueError:
        n = math.nan
    if not 0 <= n < 1e9:
        raise ValueError(f"plays should be a number from 0, but got '{text}'")
    return n


def _time_s(text: str) -> float | None:
    """Seconds since 1970; a time without a time zone is UTC."""
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            seconds = math.nan
        else:
            seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(seconds):
        raise ValueError(
            f"timestamp should be like 2026-01-31T18:00:00 or seconds since 1970, but got '{text}'"
        )
    return seconds
