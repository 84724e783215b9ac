import io

import pytest
from rich.console import Console

from chorale.search.console.events import TrialStarted
from chorale.search.console.progress import Progress, TrialsDisplay, duration_text, state_counts
from chorale.search.ledger.ledger import Row


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_durations_are_readable(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_states_are_counted() -> None:
    rows = {str(i): Row(str(i), state) for i, state in enumerate(["COMPLETE", "PRUNED", "PRUNED"])}
    assert state_counts(rows) == "3 trials: 1 done, 2 pruned"


def test_a_stage_prints_brackets_as_they_are() -> None:
    out = io.StringIO()
    Progress(Console(file=out, width=30)).stage("caution", "--ensemble.kinds [soft_vote] is [/b]")
    line, clock = out.getvalue().rstrip("\n").rsplit(" (", 1)
    assert line == "caution    --ensemble.kinds [soft_vote] is [/b]"
    assert clock == "0 s)"


def _log(*, terminal: bool) -> str:
    out = io.StringIO()
    console = Console(file=out, width=120, force_terminal=terminal, color_system=None)
    with TrialsDisplay(console, "trial", 4, objective="accuracy", n_before=1) as display:
        display.started(TrialStarted(1, "trial 1", "cnn", {}))
        display.started(TrialStarted(2, "trial 2", "recurrent", {}))
        display.reported(1, 1, {"accuracy": 0.5})
        facts = {"metrics": {"accuracy": 0.625}}
        display.ended(1, Row("1", "COMPLETE", "", facts))
        display.ended(2, Row("2", "FAIL", "diverged: loss is nan at epoch 3"))
    return out.getvalue()


def test_a_log_file_gets_one_line_for_each_ended_trial() -> None:
    lines = _log(terminal=False).splitlines()
    assert len(lines) == 2
    assert "done" in lines[0]
    assert "accuracy 0.625" in lines[0]
    assert "2 of 4" in lines[0]
    assert "1 running" in lines[0]
    assert "best 0.625 (trial 1)" in lines[0]
    assert "left" in lines[0]
    assert "failed" in lines[1]
    assert "diverged: loss is nan at epoch 3" in lines[1]


def test_a_terminal_shows_what_is_running() -> None:
    output = _log(terminal=True)
    assert "trial 1: cnn, epoch 1" in output
    assert "trial 2: recurrent, epoch 0" in output


def test_the_remaining_time_comes_from_the_given_forecast() -> None:
    out = io.StringIO()
    console = Console(file=out, width=120, color_system=None)
    with TrialsDisplay(
        console, "trial", 4, objective="accuracy", forecast_s=lambda: 200.0
    ) as display:
        display.started(TrialStarted(1, "trial 1", "cnn", {}))
        display.ended(1, Row("1", "COMPLETE", "", {"metrics": {"accuracy": 0.5}}))
    assert "about 3 min 20 s left" in out.getvalue()
