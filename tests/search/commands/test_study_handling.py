"""`chorale study delete`, `rename`, `note` and `tag`, and what `list` and `status` show of them."""

import errno
import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import optuna
import pytest

from chorale.search.champion.registry.registry import ChampionPeriod, Registry
from chorale.search.cli import main
from chorale.search.config.schema import SweepConfig, sweep_yaml_text
from chorale.search.config.yaml_file import read_yaml
from chorale.search.ledger.ledger import Ledger
from chorale.search.ledger.reader import LedgerReader, Row
from chorale.search.paths import Runs
from chorale.search.tracking.content import study_id

SPLIT = "0123"


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    """`--runs` with the complete studies a and b, of which a has looked at a test set."""
    at = Runs(tmp_path / "runs")
    ledger = Ledger(at.ledger_url)
    for name in "ab":
        ledger.create(name, {"dataset": name}, about={"dataset": "gtzan"})
        study = optuna.create_study(study_name=name, storage=ledger.optuna)
        trial = study.ask()
        trial.suggest_float("lr", 0, 1)
        trial.report(0.5, 1)
        study.tell(trial, 0.5)
        ledger.record(name, "search", Row("0", "COMPLETE", facts={"metrics": {"accuracy": 0.5}}))
        if name == "a":
            ledger.count_test_look(name, SPLIT)
        ledger.release(name, "complete", spent_s=2.0)
        (at.study(name).root / "trials").mkdir(parents=True)
        (at.study(name).root / "trials" / "weights").write_bytes(b"0" * 300_000)
    ledger.close()
    return ["--runs", str(at.root)]


def test_a_deleted_study_is_gone_but_its_look_at_the_test_set_counts(
    runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    at = Runs(Path(runs[1]))
    assert main(["study", "delete", "a", *runs]) == 1
    found = capsys.readouterr()
    assert "would delete a (complete): 1 training run, 0.3 MB" in found.out
    assert "add --yes to delete" in found.err
    assert at.study("a").root.is_dir()
    assert main(["study", "delete", "a", "--yes", *runs]) == 0
    assert capsys.readouterr().err == ""
    assert not at.study("a").root.exists()
    assert at.study("b").root.is_dir()
    with LedgerReader(at.ledger_url) as reader:
        assert reader.studies() == ["b"]
        assert (reader.rows("a", "search"), reader.reports("a")) == ({}, {})
        assert reader.rows("b", "search").keys() == {"0"}
        assert reader.reports("b") == {0: [(1, 0.5)]}
    ledger = Ledger(at.ledger_url)
    assert [one.study_name for one in ledger.optuna.get_all_studies()] == ["b"]
    ledger.create("a", {}, about={})  # the name is free again
    assert ledger.rows("a", "search") == {}
    assert ledger.count_test_look("a", SPLIT) == 2
    ledger.close()


def test_a_running_study_is_not_deleted_and_none_with_it(runs: list[str]) -> None:
    at = Runs(Path(runs[1]))
    ledger = Ledger(at.ledger_url)
    ledger.reopen("a", {"dataset": "a"})
    words = ["study", "delete", "b", "a", "--yes", *runs]
    code = f"import sys; from chorale.search.cli import main; sys.exit(main({words}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "study 'a' is being run by" in done.stderr
    assert done.stderr.endswith("add --take-over\n")
    assert len(done.stderr.splitlines()) == 1
    with LedgerReader(at.ledger_url) as reader:
        assert reader.studies() == ["a", "b"]
    assert at.study("b").root.is_dir()
    words.append("--take-over")
    code = f"import sys; from chorale.search.cli import main; sys.exit(main({words}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    ledger.close()
    with LedgerReader(at.ledger_url) as reader:
        assert reader.studies() == []


def test_the_folder_of_a_study_of_another_ledger_is_not_removed(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the same name: with --store alone, --runs is the folder of another ledger's studies."""
    at, store = Runs(Path(runs[1])), f"sqlite:///{tmp_path}/other.db"
    other = Ledger(store)
    other.create("a", {}, about={})
    other.release("a", "complete", spent_s=1.0)
    other.close()
    at.study("a").sweep_yaml.write_text("store: null\n")
    assert main(["study", "delete", "a", "--yes", *runs, "--store", store]) == 1
    error = capsys.readouterr().err
    assert "belongs to a study 'a' of another ledger; give its ledger (no --store)" in error
    assert len(error.splitlines()) == 1
    assert at.study("a").root.is_dir()
    with LedgerReader(store) as reader:
        assert reader.studies() == ["a"]
    at.study("a").sweep_yaml.write_text(f"store: {store}\n")
    assert main(["study", "delete", "a", "--yes", *runs]) == 1
    assert f"give its ledger (--store '{store}')" in capsys.readouterr().err
    assert main(["study", "delete", "a", "--yes", *runs, "--store", store]) == 0
    assert not at.study("a").root.exists()


def test_a_folder_that_cannot_be_removed_is_one_line_and_the_study_stays(
    runs: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder / "x"))

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", refuse)
        assert main(["study", "delete", "a", "--yes", *runs]) == 1
    error = capsys.readouterr().err
    assert "/a/x': Permission denied; study 'a' stays in the list" in error
    assert len(error.splitlines()) == 1
    assert main(["study", "delete", "a", "--yes", *runs]) == 0
    assert not Runs(Path(runs[1])).study("a").root.exists()


def test_a_study_is_deleted_from_either_database(ledger_url: str, tmp_path: Path) -> None:
    ledger = Ledger(ledger_url)
    for name in ("a", "b"):
        ledger.create(name, {}, about={})
        study = optuna.create_study(study_name=name, storage=ledger.optuna)
        study.tell(study.ask(), 0.5)
        ledger.record(name, "search", Row("0", "COMPLETE", facts={}))
        ledger.release(name, "complete", spent_s=1.0)
    ledger.close()
    words = ["study", "delete", "a", "--yes", "--runs", str(tmp_path), "--store", ledger_url]
    assert main(words) == 0
    with LedgerReader(ledger_url) as reader:
        assert reader.studies() == ["b"]
        assert reader.rows("a", "search") == {}
    ledger = Ledger(ledger_url)
    assert [one.study_name for one in ledger.optuna.get_all_studies()] == ["b"]
    ledger.close()


@pytest.mark.parametrize("step", ["files", "optuna"])
def test_a_deletion_that_is_killed_can_be_repeated(
    runs: list[str], step: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = f"""
import os, shutil, sys
from chorale.search.cli import main
from chorale.search.ledger import ledger
from chorale.search.ledger.trials import TrialsStorage
original = shutil.rmtree if {step!r} == "files" else TrialsStorage.delete_study
def kill(*args):
    original(*args)
    os._exit(9)
if {step!r} == "files":
    shutil.rmtree = kill
else:
    TrialsStorage.delete_study = kill
main(["study", "delete", "a", "--yes", *{runs!r}])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 9, done.stderr
    at = Runs(Path(runs[1]))
    with LedgerReader(at.ledger_url) as reader:
        assert reader.studies() == ["a", "b"]
    assert main(["study", "delete", "a", "--yes", *runs]) == 0
    with LedgerReader(at.ledger_url) as reader:
        assert reader.studies() == ["b"]


def test_notes_and_tags_are_shown_by_status_and_list(
    runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    at = Runs(Path(runs[1]))
    assert main(["study", "note", "a", "with the new microphones [x]", *runs]) == 0
    assert main(["study", "tag", "a", "paper", "live", *runs]) == 0
    assert main(["study", "tag", "b", "live", *runs]) == 0
    capsys.readouterr()
    assert main(["study", "note", "a", *runs]) == 0
    assert capsys.readouterr().out == "with the new microphones [x]\n"
    assert main(["status", "a", *runs]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "tags live, paper note with the new microphones [x]" in output
    assert main(["list", *runs, "--json"]) == 0
    found = {one["study"]: one for one in json.loads(capsys.readouterr().out)}
    assert found["a"]["tags"] == ["live", "paper"]
    assert (found["b"]["tags"], found["b"]["note"]) == (["live"], "")
    assert main(["list", *runs, "--tag", "paper"]) == 0
    output = capsys.readouterr().out
    assert "live, paper" in output
    assert len([line for line in output.splitlines() if "complete" in line]) == 1

    assert main(["study", "tag", "a", "--remove", "live,paper", *runs]) == 0
    assert capsys.readouterr().out == "no tags\n"
    assert main(["study", "note", "a", "--clear", *runs]) == 0
    assert not at.study("a").notes_json.exists()
    assert main(["list", *runs, "--tag", "papre"]) == 1
    assert "unknown tag 'papre'; choose from: live" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "message", "code"),
    [
        (["delete"], "expected the name of a study; type: chorale study delete STUDY", 2),
        (["delete", "c"], "unknown study 'c'; choose from: a, b", 1),
        (["delete", "a", "--all"], "unknown option '--all'", 2),
        (["note"], "expected the name of a study; type: chorale study note STUDY [TEXT]", 2),
        (
            ["note", "a", "two", "words"],
            "but got a two words; type: chorale study note STUDY [TEXT]",
            2,
        ),
        (["note", "a", "text", "--clear"], "type: chorale study note a --clear", 2),
        (["tag"], "type: chorale study tag STUDY [TAG ...]", 2),
        (["tag", "a", "x,y"], "a tag should be a word without commas, but got 'x,y'", 1),
        (["tag", "a", "--remove", "x"], "the study has no tag 'x'; it has: none", 1),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(
    runs: list[str], args: list[str], message: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", *args, *runs]) == code
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("command", ["delete", "note", "tag"])
def test_studies_in_a_bucket_are_refused(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", command, "a", "--runs", "s3://music/runs"]) == 1
    assert "studies in a bucket cannot be" in capsys.readouterr().err


def test_notes_that_are_damaged_or_without_a_folder_are_one_line(
    runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    at = Runs(Path(runs[1]))
    at.study("a").notes_json.write_text("{")
    assert main(["status", "a", *runs]) == 1
    assert f"repair or delete {at.study('a').notes_json}" in capsys.readouterr().err
    store = ["--store", at.ledger_url, "--runs", str(at.root / "elsewhere")]
    assert main(["study", "tag", "a", "x", *store]) == 1
    assert "name the folder of all studies with --runs FOLDER" in capsys.readouterr().err


def test_a_renamed_study_has_its_name_everywhere(
    runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    at = Runs(Path(runs[1]))
    at.study("a").sweep_yaml.write_text(sweep_yaml_text(SweepConfig({"name": "gtzan"}, name="a")))
    at.study("a").report_json.write_text('{"study": "a", "chosen": 1}')
    with LedgerReader(at.ledger_url) as reader:
        before = reader.study("a")
        identity = study_id(before)
    assert main(["study", "rename", "a", "c", *runs]) == 0
    assert capsys.readouterr().out == "study 'a' is now 'c'\n"
    assert not at.study("a").root.exists()
    assert read_yaml(at.study("c").sweep_yaml)["name"] == "c"
    assert json.loads(at.study("c").report_json.read_text()) == {"study": "c", "chosen": 1}
    assert (at.study("c").root / "trials" / "weights").stat().st_size == 300_000
    assert not at.study("c").renamed_from.exists()
    with LedgerReader(at.ledger_url) as reader:
        assert reader.studies() == ["b", "c"]
        found = reader.study("c")
        assert (found.state, found.owner, found.spent_s) == ("complete", None, before.spent_s)
        assert study_id(found) == identity
        assert reader.rows("c", "search").keys() == {"0"}
        assert (reader.rows("a", "search"), reader.reports("c")) == ({}, {0: [(1, 0.5)]})
        assert (reader.n_looks_of(["a"]), reader.n_looks_of(["c"])) == (0, 1)
    ledger = Ledger(at.ledger_url)  # and it can be resumed
    ledger.reopen("c", {"dataset": "a"})
    assert sorted(one.study_name for one in ledger.optuna.get_all_studies()) == ["b", "c"]
    ledger.close()


def test_the_page_of_a_renamed_study_names_it(runs: list[str]) -> None:
    at = Runs(Path(runs[1]))
    at.study("a").report_html.write_text("<title>a</title>")
    assert main(["study", "rename", "a", "another", *runs]) == 0
    assert "<title>another" in at.study("another").report_html.read_text()


@pytest.mark.parametrize(
    ("words", "error"),
    [  # the last one is a wrong command line
        (["a", "b"], "study 'b' exists already (complete); give another name"),
        (["a", "c d"], "may have letters, digits, '_', '.' and '-'"),
        (["a", "../c"], "but got '../c'"),
        (["a", "files"], "/files' exists already; give another name, or move it away"),
        (["nothing", "c"], "unknown study 'nothing'"),
        (["a", "c" * 256], "a study's name may have 255 characters"),
        (["a"], "type: chorale study rename STUDY NAME"),
    ],
)
def test_a_name_that_cannot_be_given_is_one_line(
    runs: list[str], words: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    at = Runs(Path(runs[1]))
    at.study("files").root.mkdir()
    assert main(["study", "rename", *words, *runs]) == (2 if len(words) == 1 else 1)
    found = capsys.readouterr().err
    assert error in found
    assert len(found.splitlines()) == 1
    assert at.study("a").root.is_dir()
    with LedgerReader(at.ledger_url) as reader:
        assert [(one.name, one.state) for one in reader.all_studies()] == [
            ("b", "complete"),
            ("a", "complete"),
        ]


def test_a_study_that_is_known_by_its_name_keeps_it(
    runs: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at = Runs(Path(runs[1]))
    words = ["study", "rename", "a", "c", *runs]
    night = at.nightly("every").night(date(2026, 1, 2)).record_json
    night.parent.mkdir(parents=True)
    night.write_text('{"study": "a"}')
    assert main(words) == 1
    assert "the night '2026-01-02' of 'every' refers to it by its name" in capsys.readouterr().err
    night.unlink()
    at.champion("best").root.mkdir(parents=True)
    period = ChampionPeriod("0", "a", "2026-01-02", "better")
    with monkeypatch.context() as patch:
        patch.setattr(Registry, "history", lambda _: (period,))
        assert main(words) == 1
    assert "the champion 'best' refers to it by its name" in capsys.readouterr().err
    at.study("b").sweep_yaml.write_text("search: {warm_start: [a]}\n")
    assert main(words) == 1
    assert "the warm start of study 'b' refers to it" in capsys.readouterr().err
    at.study("b").sweep_yaml.unlink()
    assert main(words) == 0


def test_a_study_is_renamed_in_either_database(ledger_url: str, tmp_path: Path) -> None:
    ledger = Ledger(ledger_url)
    ledger.create("a", {}, about={})
    study = optuna.create_study(study_name="a", storage=ledger.optuna)
    study.tell(study.ask(), 0.5)
    ledger.record("a", "search", Row("0", "COMPLETE", facts={}))
    ledger.release("a", "interrupted", spent_s=1.0)
    ledger.close()
    words = ["study", "rename", "a", "c", "--runs", str(tmp_path), "--store", ledger_url]
    assert main(words) == 0
    with LedgerReader(ledger_url) as reader:
        assert [(one.name, one.state) for one in reader.all_studies()] == [("c", "interrupted")]
        assert reader.rows("c", "search").keys() == {"0"}
        assert reader.times("c").keys() == {0}


@pytest.mark.parametrize("step", ["rename", "optuna"])
def test_a_renaming_that_is_killed_can_be_repeated(runs: list[str], step: str) -> None:
    code = f"""
import os
from pathlib import Path
from chorale.search.cli import main
from chorale.search.ledger import optuna_rows
original = Path.rename if {step!r} == "rename" else optuna_rows.rename
def kill(*args):
    original(*args)
    if {step!r} == "optuna" or args[1].name == "c":
        os._exit(9)
if {step!r} == "rename":
    Path.rename = kill
else:
    optuna_rows.rename = kill
main(["study", "rename", "a", "c", *{runs!r}])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 9, done.stderr
    at = Runs(Path(runs[1]))
    with LedgerReader(at.ledger_url) as reader:
        assert reader.studies() == ["a", "b"]
    assert main(["study", "rename", "a", "c", *runs]) == 0
    assert (at.study("c").root / "trials" / "weights").is_file()
    with LedgerReader(at.ledger_url) as reader:
        assert reader.studies() == ["b", "c"]
