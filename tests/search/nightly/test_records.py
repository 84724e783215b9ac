"""Records of nights: one per date, one process at a time, missed and resumed nights."""

import multiprocessing
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from rich.console import Console

from chorale.datasets.errors import UserError
from chorale.search.nightly.calendar import NightlySchedule
from chorale.search.nightly.config import Nightly
from chorale.search.nightly.night import run_night
from chorale.search.nightly.night_lock import BusyError, night_lock
from chorale.search.nightly.records import Night, Records
from chorale.search.nightly.steps import NightSteps, minutes_left


def _hold(path: Path, ready: Connection) -> None:
    with night_lock(path, name="tiny"):
        ready.send("held")
        ready.recv()


def test_the_lock_names_its_owner_and_is_released_when_the_owner_dies(
    tmp_path: Path,
) -> None:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    owner = context.Process(target=_hold, args=(tmp_path / "lock", theirs))
    owner.start()
    try:
        assert ours.recv() == "held"
        with (
            pytest.raises(BusyError, match=rf"already being run by .*:{owner.pid} since"),
            night_lock(tmp_path / "lock", name="tiny"),
        ):
            pass
    finally:
        owner.kill()
        owner.join()
    with night_lock(tmp_path / "lock", name="tiny"):
        pass


@pytest.mark.parametrize(
    ("state", "verdict", "code"),
    [
        ("done", "PROMOTED", 0),
        ("done", "KEPT", 0),
        ("done", "INCONCLUSIVE", 10),
        ("refused", "", 20),
        ("failed", "PROMOTED", 1),
    ],
)
def test_the_exit_code_gives_the_outcome(state: str, verdict: str, code: int) -> None:
    night = Night(date(2026, 11, 1), state, "UTC", verdict=verdict)  # type: ignore[arg-type]
    assert night.code == code


def test_a_record_reads_back_and_a_damaged_one_is_refused(
    nightly: Nightly, recorded: Callable[..., Night]
) -> None:
    night = recorded(2, "KEPT")
    records = Records(nightly.paths)
    assert records.read(night.date) == night
    assert records.last() == night
    records.night(night.date).record_json.write_text("{")
    with pytest.raises(UserError, match="the night's record cannot be read"):
        records.all()


def _record_runs(monkeypatch: pytest.MonkeyPatch) -> list[date]:
    """Records nights as kept instead of running them; returns their dates."""
    ran: list[date] = []

    def run(self: NightSteps, record: Night) -> Night:
        ran.append(record.date)
        return self.records.end(record, "done", verdict="KEPT", reason="decided by the test")

    monkeypatch.setattr(NightSteps, "run", run)
    return ran


def _call(nightly: Nightly, now: datetime) -> Night | None:
    return run_night(nightly, console=Console(quiet=True), clock=lambda: now)


def test_a_date_is_run_once_and_missed_nights_are_recorded(
    nightly: Nightly, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = _record_runs(monkeypatch)
    now = datetime(2026, 11, 10, 2, tzinfo=UTC)
    for hours in (0, 1, 5, 22):
        night = _call(nightly, now + timedelta(hours=hours))
        assert night is not None
        assert night.date == date(2026, 11, 10)
    assert _call(nightly, now + timedelta(days=4)) is not None
    assert ran == [date(2026, 11, 10), date(2026, 11, 14)]
    states = [(one.date.day, one.state) for one in Records(nightly.paths).all()]
    assert states == [(10, "done"), (11, "missed"), (12, "missed"), (13, "missed"), (14, "done")]


def test_an_interrupted_night_is_resumed_or_else_recorded_as_failed(
    nightly: Nightly, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = Records(nightly.paths)
    records.begin(date(2026, 11, 10), zone="UTC", study="tiny-2026-11-10")
    ran = _record_runs(monkeypatch)
    _call(nightly, datetime(2026, 11, 10, 3, tzinfo=UTC))
    assert ran == [date(2026, 11, 10)]
    records.begin(date(2026, 11, 11), zone="UTC", study="tiny-2026-11-11")
    _call(nightly, datetime(2026, 11, 12, 3, tzinfo=UTC))
    assert ran[1:] == [date(2026, 11, 12)]
    left = records.read(date(2026, 11, 11))
    assert left is not None
    assert (left.state, left.reason) == (
        "failed",
        "it was interrupted, and not resumed in time",
    )


def test_a_failed_night_is_recorded_and_reported_and_can_be_run_again(
    nightly: Nightly, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: NightSteps, record: Night) -> Night:
        raise UserError("the disk is on fire; put it out")

    monkeypatch.setattr(NightSteps, "run", broken)
    night = _call(nightly, datetime(2026, 11, 10, 3, tzinfo=UTC))
    assert night is not None
    assert (night.word, night.code) == ("FAILED", 1)
    assert "on fire" in Records(nightly.paths).night(night.date).report_html.read_text()
    ran = _record_runs(monkeypatch)
    again = _call(nightly, datetime(2026, 11, 10, 4, tzinfo=UTC))
    assert ran == [night.date]
    assert again is not None
    assert again.word == "KEPT"


def test_a_night_ends_on_time_and_a_late_one_gets_the_full_duration() -> None:
    schedule, night = NightlySchedule(at="01:00", until="06:00", zone="UTC"), date(2026, 11, 10)
    assert minutes_left(schedule, night, datetime(2026, 11, 10, 2, tzinfo=UTC)) == 240
    assert minutes_left(schedule, night, datetime(2026, 11, 10, 12, tzinfo=UTC)) == 300
    assert minutes_left(schedule, night, datetime(2026, 11, 11, 0, tzinfo=UTC)) == 60
    assert minutes_left(schedule, night, datetime(2026, 11, 10, 5, 59, 59, tzinfo=UTC)) == 1
