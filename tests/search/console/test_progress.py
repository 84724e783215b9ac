import io

import pytest
from rich.console import Console

from chorale.search.console.events import Started
from chorale.search.console.progress import TrialsDisplay, duration, states
from chorale.search.ledger.ledger import Row


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_durations_read_well(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_states_are_counted() -> None:
    rows = {str(i): Row(str(i), state) for i, state in enumerate(["COMPLETE", "PRUNED", "PRUNED"])}
    assert states(rows) == "3 trials: 1 done, 2 pruned"


def _log(*, terminal: bool) -> str:
    out = io.StringIO()
    console = Console(file=out, width=120, force_terminal=terminal, color_system=None)
    with TrialsDisplay(console, "trial", 4, objective="accuracy", n_before=1) as display:
        display.started(Started(1, "trial 1", "cnn", {}))
        display.started(Started(2, "trial 2", "recurrent", {}))
        display.reported(1, 1, {"accuracy": 0.5})
        facts = {"metrics": {"accuracy": 0.625}}
        display.ended(1, Row("1", "COMPLETE", "", facts))
        display.ended(2, Row("2", "FAIL", "diverged: loss is nan at epoch 3"))
    return out.getvalue()


def test_a_log_file_gets_one_whole_line_for_each_trial_that_ends() -> None:
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
    said = _log(terminal=True)
    assert "trial 1: cnn, epoch 1" in said
    assert "trial 2: recurrent, epoch 0" in said


def test_the_end_is_forecast_by_whoever_knows_the_budget() -> None:
    out = io.StringIO()
    console = Console(file=out, width=120, color_system=None)
    with TrialsDisplay(
        console, "trial", 4, objective="accuracy", forecast_s=lambda: 200.0
    ) as display:
        display.started(Started(1, "trial 1", "cnn", {}))
        display.ended(1, Row("1", "COMPLETE", "", {"metrics": {"accuracy": 0.5}}))
    assert "about 3 min 20 s left" in out.getvalue()
