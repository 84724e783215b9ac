"""The thread beside a sweep: it catches up, reports once, and never stops or delays the sweep."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from chorale.search.config.track_config import TrackConfig
from chorale.search.tracking import background
from chorale.search.tracking.background import tracked
from chorale.search.tracking.sync import open_tracker
from chorale.search.tracking.trackers import _mlflow_rest
from tests.search.tracking.conftest import NAME, MadeUpStudy
from tests.search.tracking.fake_mlflow import FakeMlflow

CATCH_UP = "chorale track sync tones"


def _tracked(study: MadeUpStudy, lines: list[str]) -> Any:
    return tracked(
        open_tracker(TrackConfig()),
        study=NAME,
        paths=study.paths,
        ledger_url=study.runs.ledger_url,
        catch_up=CATCH_UP,
        warn=lines.append,
    )


def _wait_for(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_runs_appear_while_the_sweep_runs_and_are_complete_at_its_end(
    study: MadeUpStudy, fake: FakeMlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "SYNC_INTERVAL_S", 0.02)
    lines: list[str] = []
    with _tracked(study, lines):
        _wait_for(lambda: "study" in fake.by_key())
        study.end("search", "0", "COMPLETE", curve=[0.5])
        _wait_for(lambda: "search/0" in fake.by_key())
        study.end("search", "1", "COMPLETE", curve=[0.5])
        study.complete()
    assert {run.status for run in fake.by_key().values()} == {"FINISHED"}
    assert fake.by_key().keys() == {"study", "search/0", "search/1"}
    assert lines == []


@pytest.mark.parametrize(
    ("took_s", "failed", "expected"),
    [(0.01, False, 5.0), (0.01, True, 15.0), (1.0, False, 50.0), (1.0, True, 50.0)],
)
def test_the_thread_takes_at_most_two_percent_of_a_core(
    took_s: float, failed: bool, expected: float
) -> None:
    assert background.pause_s(took_s, failed=failed) == expected


def test_a_tracker_that_is_away_is_one_line_and_caught_up_when_it_is_back(
    study: MadeUpStudy, fake: FakeMlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "SYNC_INTERVAL_S", 0.02)
    monkeypatch.setattr(background, "RETRY_S", 0.02)
    fake.fault = lambda method, path: "401"
    lines: list[str] = []
    with _tracked(study, lines):
        _wait_for(lambda: len(fake.requests) > 3)
        study.end("search", "0", "COMPLETE", curve=[0.5])
        fake.fault = lambda method, path: None
        _wait_for(lambda: "search/0" in fake.by_key())
    [line] = lines
    assert "refuses the token or the password (HTTP 401" in line
    assert line.endswith(f"write what is missing with: {CATCH_UP}")


def test_a_tracker_that_hangs_delays_the_end_only_for_a_bounded_time(
    study: MadeUpStudy, fake: FakeMlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "LAST_WAIT_S", 0.05)
    fake.fault = lambda method, path: "hang"
    lines: list[str] = []
    with _tracked(study, lines):
        _wait_for(lambda: fake.requests)
    [line] = lines
    assert "did not take everything in 0 s; write the rest with: chorale track sync" in line
    fake.released.set()
    [thread] = [one for one in threading.enumerate() if one.name == "chorale-tracking"]
    thread.join(60)
    assert len(lines) == 1, "what the thread meets afterwards is not reported"


def test_an_error_of_the_sweep_is_raised_and_what_was_recorded_is_written(
    study: MadeUpStudy, fake: FakeMlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "INTERRUPTED_WAIT_S", 60.0)

    def interrupted_sweep() -> None:
        with _tracked(study, []):
            study.end("search", "0", "COMPLETE", curve=[0.5])
            study.ledger.release(NAME, "interrupted", spent_s=1.0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_sweep()
    assert fake.by_key()["search/0"].status == "FINISHED"
    assert fake.by_key()["study"].status == "KILLED"


def test_a_mistake_in_this_code_does_not_stop_the_sweep(
    study: MadeUpStudy, fake: FakeMlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object) -> None:
        raise ZeroDivisionError("of\nzero")

    monkeypatch.setattr(_mlflow_rest.MlflowRest, "check_version", fail)
    lines: list[str] = []
    with _tracked(study, lines):
        pass
    [line] = lines
    assert line.startswith("ZeroDivisionError: of zero; ")
