"""`chorale status`, `list`, `leaderboard` and `resume` on the command line."""

import csv
import io
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
import sqlalchemy as sa

from chorale.datasets.atomic import write_json
from chorale.search.cli import main
from chorale.search.commands import status
from chorale.search.ledger.database import Database
from chorale.search.ledger.ledger import Ledger
from chorale.search.ledger.reader import Row
from chorale.search.paths import Runs
from chorale.search.report.leaderboard import leaderboard, to_csv

ABOUT = {
    "dataset": "gtzan",
    "objective": "accuracy",
    "second": "none",
    "budget": {"trials": 8, "minutes": 30.0, "core_hours": None, "max_epochs": 4},
}


def _facts(accuracy: float, **more: Any) -> dict[str, Any]:
    return {
        "architecture": "cnn",
        "features": "mel",
        "metrics": {"accuracy": accuracy, "macro_f1": accuracy / 2},
        "params": {"architecture": "cnn", "train.lr": 0.00123456, "cnn.width": 16},
        "elapsed_s": 2.5,
        **more,
    }


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    """`--runs` and a ledger with study a, whose owner died, and the complete study b."""
    ledger = Ledger(Runs(tmp_path / "runs").ledger_url)
    ledger.create("b", {}, about=ABOUT)
    ledger.release("b", "complete", spent_s=65.0)
    ledger.create("a [odd]", {}, about=ABOUT)
    ledger.record("a [odd]", "search", Row("0", "COMPLETE", facts=_facts(0.75)))
    ledger.record("a [odd]", "search", Row("1", "PRUNED", "pruned", _facts(0.5)))
    ledger.record("a [odd]", "search", Row("2", "FAIL", "diverged: loss is nan"))
    ledger.record("a [odd]", "search", Row("3", "FAIL", "diverged: loss is nan"))
    ledger.record("a [odd]", "search", Row("4", "COMPLETE", facts=_facts(0.875)))
    ledger.record("a [odd]", "finalists", Row("4/0/0", "COMPLETE", facts=_facts(0.5)))
    ledger.record("a [odd]", "finalists", Row("4/1/0", "COMPLETE", facts=_facts(0.75)))
    optuna.create_study(study_name="a [odd]", storage=ledger.optuna).ask()
    ledger.flush()
    ledger.close()
    return ["--runs", str(tmp_path / "runs")]


def _die(runs: list[str]) -> None:
    ledger = Ledger(Runs(Path(runs[1])).ledger_url)
    lease = {"holder": "elsewhere:7", "holder_process": "", "beat_s": time.time() - 3600}
    sets = ", ".join(f"{name} = :{name}" for name in lease)
    statement = sa.text(f"update chorale_studies set {sets} where state = 'running'")
    ledger._database.write(lambda c: c.execute(statement, lease))
    ledger.close()


def test_status_shows_the_progress_of_a_running_study(
    runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "a [odd]", *runs]) == 0
    output = " ".join(capsys.readouterr().out.split())
    for text in (
        f"study a [odd]: running on {os.uname().nodename}:{os.getpid()}, last heartbeat",
        "dataset gtzan",
        "trials 5 of 8: 2 done, 1 pruned, 2 failed, 1 running",
        "finalists 2 done",
        "budget minutes 30.0, max_epochs 4",
        "best 0.875 accuracy, trial 4 (cnn)",
        "2 x diverged: loss is nan (last: trial 3)",
    ):
        assert text in output
    assert "resume with" not in output


def test_status_of_a_study_whose_process_died_shows_how_to_resume(
    runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    _die(runs)
    stages = Runs(Path(runs[1])).study("a [odd]").stages_json
    write_json(stages, {"data": 5.0, "search": 80.2})
    assert main(["status", "a [odd]", *runs]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "by stage data 5 s, search 1 min 20 s" in output
    assert "a [odd]: interrupted (elsewhere:7 died)" in output
    assert "1 to be resumed" in output
    assert "resume with chorale resume 'a [odd]'" in output


def test_status_without_a_name_shows_running_studies_or_else_the_newest(
    runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", *runs, "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert (one["study"], one["state"], one["running"]) == ("a [odd]", "running", 1)
    assert one["trials"] == {"complete": 2, "pruned": 1, "failed": 2}
    assert one["failures"] == [{"reason": "diverged: loss is nan", "n": 2, "last_trial": 3}]
    _die(runs)
    assert main(["status", *runs, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1


def test_watching_ends_with_the_study_that_was_running(
    runs: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            _die(runs)
            ledger = Ledger(Runs(Path(runs[1])).ledger_url)
            ledger.create("newer", {}, about=ABOUT)
            ledger.release("newer", "complete", spent_s=1.0)
            ledger.close()

    with monkeypatch.context() as patch:
        patch.setattr(status, "time", SimpleNamespace(sleep=sleep))
        assert main(["status", *runs, "--watch", "--json", "--every", "0.5"]) == 0
    looks = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["state"] for [one] in looks] == ["running", "running", "interrupted"]
    assert {one["study"] for [one] in looks} == {"a [odd]"}
    assert pauses == [0.5, 0.5]
    assert main(["status", "a [odd]", *runs, "--watch"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "study a [odd]: interrupted (elsewhere:7 died)" in output


def test_metadata_missing_in_an_older_ledger_comes_from_the_studys_file(
    runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = Ledger(Runs(Path(runs[1])).ledger_url)
    ledger._database.write(lambda c: c.execute(sa.text("update chorale_studies set about = null")))
    ledger.close()
    file = Runs(Path(runs[1])).study("b").sweep_yaml
    file.parent.mkdir()
    file.write_text("dataset: {name: fsdd}\nsearch: {objective: macro_f1}\nbudget: {trials: 9}\n")
    assert main(["status", "b", *runs, "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert (one["dataset"], one["objective"], one["budget"]) == ("fsdd", "macro_f1", {"trials": 9})
    assert main(["status", "a [odd]", *runs, "--json"]) == 0
    (odd,) = json.loads(capsys.readouterr().out)
    assert (odd["dataset"], odd["best"]["value"]) == (None, 0.875)


def test_list_names_every_study(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", *runs]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    (odd,) = [line for line in lines if line[:2] == ["a", "[odd]"]]
    assert odd[2:8] == ["running", "gtzan", "5", "1", "2", "0.875"]
    (complete,) = [line for line in lines if line[:1] == ["b"]]
    assert complete[1:6] == ["complete", "gtzan", "0", "0", "0"]
    assert main(["list", *runs, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {one["study"]: one["state"] for one in found} == {"a [odd]": "running", "b": "complete"}


def test_the_leaderboard_of_a_running_sweep_is_sorted_best_first(
    runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["leaderboard", "a [odd]", *runs]) == 0
    output = capsys.readouterr().out
    lines = [line.split() for line in output.splitlines() if "cnn" in line or "diverged" in line]
    assert [line[:2] for line in lines] == [
        ["4", "done"],
        ["0", "done"],
        ["1", "pruned"],
        ["2", "failed"],
        ["3", "failed"],
    ]
    assert lines[0][2:6] == ["cnn", "mel", "0.875", "0.625"]
    assert "train.lr=0.00123 width=16" in output
    assert "1 more is unfinished" in output


def test_the_leaderboard_as_csv_has_every_column(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["leaderboard", "a [odd]", *runs, "--top=2", "--csv", "-"]) == 0
    text = capsys.readouterr().out
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [line["trial"] for line in lines] == ["4", "0"]
    assert lines[0]["train.lr"] == "0.00123456"
    assert (lines[0]["folds_accuracy"], lines[1]["folds_accuracy"]) == ("0.625", "")
    file = tmp_path / "new" / "board.csv"
    assert main(["leaderboard", "a [odd]", *runs, "--top=2", "--csv", str(file)]) == 0
    assert file.read_text() == text


def test_every_fold_of_a_finalist_counts_once_however_many_seeds_it_has() -> None:
    rows = {"0": Row("0", "COMPLETE", facts=_facts(0.9))}
    scores = {"0/0/0": 0.5, "0/1/0": 0.9, "0/0/1": 0.7}  # time ended within the second seed
    finals = {key: Row(key, "COMPLETE", facts=_facts(score)) for key, score in scores.items()}
    (line,) = leaderboard(rows, finals, objective="accuracy")
    assert line["folds_accuracy"] == pytest.approx((0.6 + 0.9) / 2)


def test_the_pareto_front_is_marked_where_there_is_a_second_objective() -> None:
    rows = {
        "0": Row("0", "COMPLETE", facts=_facts(0.9, n_parameters=100)),
        "1": Row("1", "COMPLETE", facts=_facts(0.8, n_parameters=200)),
        "2": Row("2", "COMPLETE", facts=_facts(0.7, n_parameters=10)),
        "3": Row("3", "PRUNED", facts=_facts(0.95, n_parameters=1)),
    }
    lines = leaderboard(rows, {}, objective="accuracy", second="n_parameters")
    assert [line["trial"] for line in lines if line["front"]] == [0, 2]
    assert "front" not in leaderboard(rows, {}, objective="accuracy")[0]


def test_the_leaderboard_as_json_has_every_column_and_only_values_of_json(
    runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = Ledger(Runs(Path(runs[1])).ledger_url)
    bad = {"metrics": {"accuracy": 0.25, "log_loss": float("inf")}, "elapsed_s": float("nan")}
    ledger.record("a [odd]", "search", Row("5", "COMPLETE", facts={**_facts(0.25), **bad}))
    ledger.close()
    assert main(["leaderboard", "a [odd]", *runs, "--json"]) == 0

    def refuse(name: str) -> None:
        pytest.fail(f"{name} is not JSON")

    found = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert [one["trial"] for one in found] == [4, 0, 5, 1, 2, 3]
    assert (found[0]["train.lr"], found[0]["folds_accuracy"]) == (0.00123456, 0.625)
    assert (found[2]["validation_log_loss"], found[2]["elapsed_s"]) == (None, None)


def test_an_empty_leaderboard_is_one_message(
    runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["leaderboard", "b", *runs]) == 0
    assert "No trial has ended yet." in capsys.readouterr().out
    assert to_csv(leaderboard({}, {}, objective="accuracy")) == "\n"


@pytest.mark.parametrize(
    ("args", "expected", "code"),
    [
        (["status", "-x"], "unknown option '-x'; choose from: --every", 2),
        (["status", "a [od]"], "unknown study 'a [od]'; did you mean 'a [odd]'?", 1),
        (["leaderboard", "c"], "unknown study 'c'; choose from: a [odd], b", 1),
        (["resume", "bb"], "unknown study 'bb'; did you mean 'b'?", 1),
        (["resume", "b"], "sweep.yaml', which is kept with study 'b', is missing", 1),
        (["leaderboard"], "expected the name of a study; type: chorale leaderboard STUDY", 2),
        (["status", "a", "b"], "expected the name of one study, but got a b", 2),
        (["leaderboard", "b", "--top", "none"], "--top should be a whole number of 1 or more", 2),
        (["leaderboard", "b", "--tpo", "3"], "did you mean '--top'?", 2),
        (["leaderboard", "b", "--csv"], "--csv needs a value", 2),
        (["leaderboard", "b", "--csv", "-", "--json"], "--csv and --json are two formats", 2),
        (["list", "b"], "expected no name, but got b; type: chorale list", 2),
        (["status", "--every", "3"], "--every is the pause of --watch, which is not given", 2),
        (
            ["status", "--watch", "--every", "0"],
            "--every should be a number from 0.1 to 3600, but got",
            2,
        ),
        (["compare", "b"], "expected the names of two or more different studies, but got b", 2),
        (["compare", "b", "b"], "two or more different studies, but got b b", 2),
        (["compare", "b", "c"], "unknown study 'c'; choose from: a [odd], b", 1),
        (["compare", "b", "a [odd]"], "has no test score yet; type: chorale resume b", 1),
        (["resume", "b", "--space.cnn.width", "3"], "a study is resumed as it was started", 2),
        (["status", "--store", "sqlite:///none.db"], "there is no ledger 'none.db'", 1),
        (["status", "--store", "nonsense"], "cannot be opened", 1),
    ],
)
def test_wrong_arguments_are_reported_in_one_line(
    runs: list[str], capsys: pytest.CaptureFixture[str], args: list[str], expected: str, code: int
) -> None:
    assert main([*args, *runs]) == code
    error = capsys.readouterr().err
    assert expected in error
    assert len(error.splitlines()) == 1


READING: dict[str, list[str]] = {"status": [], "list": [], "leaderboard": ["b"]}
"""Commands that only read the ledger -> their arguments in the tests."""


@pytest.mark.parametrize("command", [*READING, "compare", "resume"])
def test_each_command_has_a_help_text(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    output = capsys.readouterr().out
    assert f"usage: chorale {command}" in output
    assert "--runs FOLDER" in output


def test_the_reading_commands_import_nothing_heavy(runs: list[str]) -> None:
    lines = [[name, *args, *runs] for name, args in READING.items()]
    code = (
        "import sys; from chorale.search.cli import main\n"
        f"for words in {lines}: main(words)\n"
        "heavy = {'torch', 'ray', 'optuna', 'pandas', 'librosa', 'scipy'} & set(sys.modules)\n"
        "sys.exit(','.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_a_full_disk_ends_a_sweep_with_one_line_and_the_sweep_can_be_resumed(
    tiny: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runs = ["--runs", str(tmp_path / "runs")]
    small = ["--budget.trials", "2", "--budget.max_epochs", "1", "--finalists.configs", "1"]
    none = ["--cluster.address", "none"]
    written = Database.write

    def fills(self: Database, work: Callable[..., Any], **how: Any) -> Any:
        """The disk is full from the first committed trial on."""
        if self.read(lambda c: c.execute(sa.text("select count(*) from chorale_trials")).scalar()):
            raise self.error("written", sqlite3.OperationalError("database or disk is full"))
        return written(self, work, **how)

    with monkeypatch.context() as patch:
        assert main(["status", *runs]) == 1, "there is no ledger yet"
        Ledger(Runs(tmp_path / "runs").ledger_url).close()
        patch.setattr(Database, "write", fills)
        capsys.readouterr()
        assert main(["sweep", *tiny, *none, *small]) == 1
    error = capsys.readouterr().err
    assert "cannot be written: database or disk is full; everything recorded before is" in error
    assert len(error.splitlines()) == 1
    assert main(["status", *runs, "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert sum(one["trials"].values()) == 1

    assert main(["resume", "tiny", *runs, *none, "--budget.trials", "3"]) == 0
    capsys.readouterr()
    assert main(["status", *runs, "--json"]) == 0
    (after,) = json.loads(capsys.readouterr().out)
    assert (after["state"], sum(after["trials"].values()), after["running"]) == ("complete", 3, 0)
    assert after["budget"]["trials"] == 3
