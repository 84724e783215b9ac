"""Keep-alive output: a silent stage gets status lines, one that prints by itself does not."""

import io
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pandas as pd
import pytest
from rich.console import Console

from chorale.search.config.resolve import ResolvedSweep
from chorale.search.console.events import TrialStarted
from chorale.search.console.follow import LogFollower
from chorale.search.console.progress import Progress, TrialsDisplay
from chorale.search.console.ticker import StatusTicker
from chorale.search.paths import StudyPaths
from chorale.search.sweep import run


def make_console(*, terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), width=120, force_terminal=terminal, color_system=None)


def output_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("terminal", [False, True])
def test_a_silent_stage_gets_repeated_status_lines(terminal: bool) -> None:
    console, twice = make_console(terminal=terminal), threading.Semaphore(0)
    ticker = StatusTicker(console, max_silence_s=0.01)

    def print_status() -> None:
        console.print("still running")
        twice.release()

    with ticker, ticker.printing(print_status):
        assert twice.acquire(timeout=60)
        assert twice.acquire(timeout=60)
    assert output_of(console).count("still running") >= 2


def test_any_output_postpones_the_status_line(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("chorale.search.console.ticker.time.perf_counter", lambda: now[0])
    console = make_console()
    ticker = StatusTicker(console, max_silence_s=3600)
    with ticker:
        now[0] = 3000.0
        assert ticker._left_s() == pytest.approx(700.0)
        console.print("a line")
        assert ticker._left_s() == 3600.0


def test_the_status_line_names_the_innermost_activity_with_its_progress() -> None:
    console = make_console()
    progress = Progress(console)
    with progress.activity("features"), progress.activity("mel") as set_progress:
        set_progress("40%")
        progress._ticker._printers[-1]()
        assert "mel: 40%, 0 s so far" in output_of(console)
    with progress.activity("baselines"):
        progress._ticker._printers[-1]()
    assert "baselines: 0 s so far" in output_of(console)
    assert progress._ticker._printers == []


def test_messages_of_the_audio_decoder_are_collected_while_it_ticks() -> None:
    code = """
import os
from rich.console import Console
from chorale.datasets.decoding.messages import collected_messages
from chorale.search.console.ticker import StatusTicker
with StatusTicker(Console(stderr=True)), collected_messages() as messages:
    os.write(2, b"Note: a\\n")
print(messages)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("['Note: a']\n", "")


def test_nested_commands_share_one_ticker() -> None:
    console = make_console()
    outer = Progress(console)
    with outer.keep_alive("night"):
        inner = Progress(console)
        assert inner._ticker is outer._ticker
        with inner.keep_alive("sweep"):
            inner._ticker._printers[-1]()
        outer._ticker._printers[-1]()
        assert outer._ticker._thread is not None
        assert outer._ticker._thread.is_alive()
    assert [line.split(":")[0].strip() for line in output_of(console).splitlines()] == [
        "sweep",
        "night",
    ]
    assert not outer._ticker._thread.is_alive()
    assert Progress(console)._ticker is not outer._ticker


def test_two_tickers_of_one_console_can_end_in_any_order() -> None:
    console = make_console()
    one, other = Progress(console), Progress(console)
    with one.keep_alive("one"), other.keep_alive("other"):
        pass
    assert Progress(console)._ticker not in (one._ticker, other._ticker)


@pytest.mark.parametrize("terminal", [False, True])
def test_the_display_prints_a_status_while_trials_run(terminal: bool) -> None:
    console = make_console(terminal=terminal)
    with TrialsDisplay(console, "trial", 4, objective="accuracy") as display:
        display.started(TrialStarted(1, "trial 1", "cnn", {}))
        before = len(output_of(console))
        display.print_status()
        assert "0 of 4, 1 running" in output_of(console)[before:]


def test_following_a_log_shows_the_summary_and_no_empty_line() -> None:
    log = make_console()
    with TrialsDisplay(log, "trial", 4, objective="accuracy") as display:
        display.started(TrialStarted(1, "trial 1", "cnn", {}))
        display.print_status()
    terminal = make_console(terminal=True)
    with LogFollower(terminal) as follow:
        follow(output_of(log))
    assert "trials 0 of 4, 1 running" in output_of(terminal)
    assert "\n\n" not in output_of(terminal)


def test_a_sweep_is_kept_alive_from_its_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ticking: list[bool] = []

    def tracks(_: Any, progress: Progress) -> Any:
        """The first step of a sweep that may take long."""
        console.print("a stage")
        thread = progress._ticker._thread
        ticking.append(thread is not None and thread.is_alive())
        return SimpleNamespace(table=pd.DataFrame({"label": ["rock"]}))

    used: list[Progress] = []

    def opened(_: Any, progress: Progress, *__: Any) -> Any:
        used.append(progress)
        raise RuntimeError("no further")

    monkeypatch.setattr(run, "divisible_tracks", tracks)
    monkeypatch.setattr(run, "check_start", lambda *_, **__: None)
    monkeypatch.setattr(run, "for_labels", lambda sweep, **_: sweep)
    monkeypatch.setattr(run, "_opened", opened)
    search = SimpleNamespace(objective="accuracy")
    paths = StudyPaths(tmp_path / "s")
    console, named = (
        make_console(),
        SimpleNamespace(runs=str(tmp_path), name="s", search=search, track=None, paths=paths),
    )
    resolved = cast(ResolvedSweep, SimpleNamespace(sweep=named, dataset_config=None))
    with pytest.raises(RuntimeError, match="no further"):
        run.run_sweep(resolved, resume=None, console=console)
    assert ticking == [True]
    thread = used[0]._ticker._thread
    assert thread is not None
    assert not thread.is_alive(), "the ticker ends with the sweep"
