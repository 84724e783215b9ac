"""A silent stage is told of, and one that talks is left alone."""

import io
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from chorale.search.config.resolve import Resolved
from chorale.search.console.events import Started
from chorale.search.console.follow import Follower
from chorale.search.console.progress import Progress, TrialsDisplay
from chorale.search.console.ticker import Ticker
from chorale.search.sweep import run


def make_console(*, terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), width=120, force_terminal=terminal, color_system=None)


def said_by(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("terminal", [False, True])
def test_a_silent_stage_is_told_of_again_and_again(terminal: bool) -> None:
    console, twice = make_console(terminal=terminal), threading.Semaphore(0)
    told = Ticker(console, max_silence_s=0.01)

    def beat() -> None:
        console.print("still at it")
        twice.release()

    with told, told.beating(beat):
        assert twice.acquire(timeout=60)
        assert twice.acquire(timeout=60)
    assert said_by(console).count("still at it") >= 2


def test_whatever_is_printed_counts_as_a_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("chorale.search.console.ticker.time.perf_counter", lambda: now[0])
    console = make_console()
    told = Ticker(console, max_silence_s=3600)
    with told:
        now[0] = 3000.0
        assert told._left_s() == pytest.approx(700.0)
        console.print("a line")
        assert told._left_s() == 3600.0


def test_the_innermost_stage_is_named_with_how_far_it_is() -> None:
    console = make_console()
    progress = Progress(console)
    with progress.doing("features"), progress.doing("mel") as tell:
        tell("40%")
        progress._ticker._beats[-1]()
        assert "mel: 40%, 0 s so far" in said_by(console)
    with progress.doing("baselines"):
        progress._ticker._beats[-1]()
    assert "baselines: 0 s so far" in said_by(console)
    assert progress._ticker._beats == []


def test_a_command_within_a_command_is_told_of_once() -> None:
    console = make_console()
    outer = Progress(console)
    with outer.never_silent("night"):
        inner = Progress(console)
        assert inner._ticker is outer._ticker
        with inner.never_silent("sweep"):
            inner._ticker._beats[-1]()
        outer._ticker._beats[-1]()
        assert outer._ticker._thread is not None
        assert outer._ticker._thread.is_alive()
    assert [line.split(":")[0].strip() for line in said_by(console).splitlines()] == [
        "sweep",
        "night",
    ]
    assert not outer._ticker._thread.is_alive()
    assert Progress(console)._ticker is not outer._ticker


def test_two_that_were_made_before_either_began_end_in_any_order() -> None:
    console = make_console()
    one, other = Progress(console), Progress(console)
    with one.never_silent("one"), other.never_silent("other"):
        pass
    assert Progress(console)._ticker not in (one._ticker, other._ticker)


@pytest.mark.parametrize("terminal", [False, True])
def test_trials_that_take_long_are_told_of(terminal: bool) -> None:
    console = make_console(terminal=terminal)
    with TrialsDisplay(console, "trial", 4, objective="accuracy") as display:
        display.started(Started(1, "trial 1", "cnn", {}))
        before = len(said_by(console))
        display.beat()
        assert "0 of 4, 1 running" in said_by(console)[before:]


def test_who_follows_a_log_sees_how_far_it_is_and_no_empty_line() -> None:
    log = make_console()
    with TrialsDisplay(log, "trial", 4, objective="accuracy") as display:
        display.started(Started(1, "trial 1", "cnn", {}))
        display.beat()
    there = make_console(terminal=True)
    with Follower(there) as follow:
        follow(said_by(log))
    assert "trials 0 of 4, 1 running" in said_by(there)
    assert "\n\n" not in said_by(there)


def test_a_sweep_is_watched_over_from_its_begin(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    watched: list[bool] = []

    def tracks(_: Any, progress: Progress) -> None:
        """The first thing that a sweep does which may take its time."""
        console.print("a stage")
        thread = progress._ticker._thread
        watched.append(thread is not None and thread.is_alive())

    def stages(_: Any, progress: Progress, *__: Any, **___: Any) -> dict[str, Any]:
        return {"progress": progress}

    monkeypatch.setattr(run, "divisible_tracks", tracks)
    monkeypatch.setattr(run, "begin", lambda *_, **__: None)
    monkeypatch.setattr(run, "_run", stages)
    console, named = make_console(), SimpleNamespace(runs=str(tmp_path), name="s")
    resolved = cast(Resolved, SimpleNamespace(sweep=named, dataset_config=None))
    found = run.run_sweep(resolved, resume=None, console=console)
    assert watched == [True]
    assert not found["progress"]._ticker._thread.is_alive(), "it ends with the sweep"
