"""End-to-end sweeps on a tiny corpus, as a user runs them, in this process and in others."""

import json
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from chorale.search.baselines.classifiers import GRIDS
from chorale.search.cli import main
from chorale.search.data import prepare as preparation
from chorale.search.ledger.reader import LedgerReader

NONE = ["--cluster.address", "none"]
SMALL = ["--budget.trials", "1", "--budget.max_epochs", "1", "--finalists.configs", "1"]
SMALL += ["--ensemble.kinds", "[soft_vote]", "--ensemble.baselines", "none"]
"""A sweep in which only its course matters, not its result."""


def _report(tmp_path: Path, name: str = "tiny") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((tmp_path / "runs" / name / "report.json").read_text())
    return found


def test_wall_time_and_minutes_count_from_the_start_of_the_command(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, slow_s = preparation.prepare, 3_000.0

    def prepare(*args: Any) -> Any:
        prepared, clock = real(*args), time.perf_counter
        monkeypatch.setattr(time, "perf_counter", lambda: clock() + slow_s)
        return prepared

    monkeypatch.setattr(preparation, "prepare", prepare)
    assert main(["sweep", *tiny, *NONE, *SMALL, "--budget.minutes", "60"]) == 0
    wall_s = _report(tmp_path)["cost"]["wall_s"]
    assert slow_s < wall_s < slow_s + 300
    reader = LedgerReader(f"sqlite:///{tmp_path / 'runs' / 'chorale.db'}")
    assert reader.spent_s("tiny") == pytest.approx(wall_s, abs=60)
    reader.close()
    assert main(["sweep", *tiny, *NONE, *SMALL, "--name", "late", "--budget.minutes", "40"]) == 0
    assert _report(tmp_path, "late")["trials"]["complete"] == 0  # no time was left for a trial


def test_a_sweep_ends_with_a_leaderboard_an_ensemble_and_a_report(
    tiny: list[str],
    check_report: Callable[[Any], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["sweep", *tiny, *NONE]) == 0
    found = _report(tmp_path)
    assert found["baselines"].keys() == GRIDS.keys()
    check_report(found)
    # Tones of three pitches are easy: a pipeline that cannot learn them is broken.
    assert found["ensemble"]["test"]["accuracy"] > 0.8
    study = tmp_path / "runs" / "tiny"
    table = pd.read_csv(study / "leaderboard.csv")
    assert sorted(table["trial"]) == [0, 1, 2, 3]
    assert table["state"].iloc[0] == "COMPLETE"
    for number in range(4):
        trial = study / "trials" / f"{number:04d}"
        assert {p.name for p in trial.iterdir()} >= {"config.yaml", "metrics.csv"}
        assert list(trial.glob("events.out.tfevents*"))
    assert list((study / "finalists").glob("*/fold-*/weights/*.safetensors"))
    out = capsys.readouterr().out
    assert "soft_vote" in out
    assert "evaluated once" in out
    assert "…" not in out.partition("study tiny")[2], "a cell of the table was cut off"
    page = (study / "report.html").read_text()
    assert f"Read it in a browser: {study / 'report.html'}" in out
    assert "<audio" in page or not found["hardest"], (
        "the audio is on this machine, so the page can play it"
    )
    assert {"confusion", "reliability", "architectures", "command"} <= found.keys()
    assert not [p for p in tmp_path.rglob(".*") if p.is_file()], "temporary files remain"

    # What it says to do next works as it stands.
    steps = out.partition("Next:\n")[2].replace(" --open", "").splitlines()
    lines = [line.strip().partition("   #")[0] for line in steps]
    commands = [one for line in lines for one in line.split(" && ")]
    names = [one.split()[1] for one in commands]
    assert names == ["report", "predict", "export", "serve", "resume"]
    for command in commands[:3]:
        assert main(shlex.split(command)[1:]) == 0, command
    assert Path(shlex.split(commands[3])[2], "bundle.json").is_file()
    assert commands[4].startswith("chorale resume tiny --budget.trials 8 --runs ")
    capsys.readouterr()

    # Starting the same study again is refused; resumed, it has nothing left to do.
    assert main(["sweep", *tiny, *NONE]) == 1
    assert "study 'tiny' exists already (complete)" in capsys.readouterr().err
    assert main(["sweep", *tiny, *NONE, "--resume"]) == 0
    again = _report(tmp_path)
    assert again["test_looks"] == 1, "nothing was trained, so the test set was not evaluated again"
    assert again == found

    # With a larger budget it continues; features and audit come from the cache.
    capsys.readouterr()
    assert main(["sweep", *tiny, *NONE, "--resume", "--budget.trials", "5"]) == 0
    longer = _report(tmp_path)
    assert sum(longer["trials"][state] for state in ("complete", "pruned", "failed")) == 5
    assert longer["test_looks"] == 2
    assert longer["split"]["hash"] == found["split"]["hash"]
    before_s, after_s = found["cost"]["stages_s"], longer["cost"]["stages_s"]
    assert all(after_s[stage] > took_s for stage, took_s in before_s.items()), "of both runs"


@pytest.mark.slow
def test_the_same_sweep_runs_in_processes(
    tiny: list[str], check_report: Callable[[Any], None], tmp_path: Path
) -> None:
    assert main(["sweep", *tiny, "--cluster.address", "processes"]) == 0
    found = _report(tmp_path)
    check_report(found)
    assert found["ensemble"]["test"]["accuracy"] > 0.8


def test_resuming_with_another_space_is_refused(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", *tiny, *NONE, *SMALL]) == 0
    assert main(["sweep", *tiny, *NONE, *SMALL, "--resume", "--space.cnn.n_layers", "3"]) == 1
    assert "was started with another space" in capsys.readouterr().err


def test_a_warm_started_study_uses_the_first_one_and_stops_by_patience(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [*SMALL, "--search.pruner", "none", "--budget.trials", "4"]
    assert main(["sweep", *tiny, *NONE, *small, "--budget.max_epochs", "2"]) == 0
    capsys.readouterr()
    args = ["--name", "tiny-2", "--search.warm_start", "auto", "--budget.trials", "10"]
    args += ["--budget.patience", "1", "--search.second", "n_parameters", "--budget.core_hours"]
    assert main(["sweep", *tiny, *NONE, *small, *args, "1", "--architectures", "[cnn]"]) == 0
    out = capsys.readouterr().out
    assert "recurrent is not searched now" in out
    assert "ended by budget.patience" in out
    assert _report(tmp_path, "tiny-2")["trials"]["complete"] < 10
    table = pd.read_csv(tmp_path / "runs" / "tiny-2" / "leaderboard.csv")
    assert len(table) < 10


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--dataset.root", "/no/such/folder"], "does not exist"),
        (["--architectures", "[cnnn]"], "did you mean 'cnn'?"),
        (["--budget.trails", "3"], "budget.trails: unknown key; did you mean 'trials'?"),
        (["--budget.trials", "many"], "budget.trials: "),
        (["--features.mell", "{}"], "did you mean 'mel'?"),
        (["--ensemble.kind", "best_singel"], "did you mean 'best_single'?"),
        (["--dataset.group", "(nobody)"], "group"),
        (["--train.max_epochs", "3"], "budget.max_epochs"),
        (["--store", "nonsense"], "cannot be opened"),
        (["--search.warm_start", "[nobody]"], "unknown study 'nobody'"),
        (["--architectures", "[]"], "name at least one"),
        (["--dataset", "{name: table, root: x.csv}"], "brings no audio to compute it from"),
    ],
)
def test_a_configuration_error_is_one_message_before_training(
    tiny: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    message: str,
) -> None:
    assert main(["sweep", *tiny, *NONE, *args]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "runs" / "tiny" / "trials").exists()


def test_all_problems_of_a_sweep_file_are_listed_in_one_error(
    tiny: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["--budget.trails", "3", "--split.test", "2", "--search.sampler", "magic"]
    assert main(["sweep", *tiny, *args]) == 1
    error = capsys.readouterr().err
    assert "3 problems" in error
    assert all(key in error for key in ("budget.trails", "split.test", "search.sampler"))


def test_unknown_keys_and_unknown_values_are_listed_in_one_error(
    tiny: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["--budget.trails", "3", "--dataset.rooot", "x", "--architectures", "[cnnn]"]
    assert main(["sweep", *tiny, *args, "--features.mel.n_mel", "8"]) == 1
    error = capsys.readouterr().err
    assert "4 problems" in error
    for hint in ("'trials'", "'root'", "'cnn'", "'n_mels'"):
        assert f"did you mean {hint}?" in error
