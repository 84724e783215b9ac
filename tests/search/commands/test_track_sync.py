"""`chorale track sync` and the key `track` of a sweep file."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chorale.datasets.config import read_config, to_plain_values
from chorale.datasets.errors import UserError
from chorale.search.cli import main
from chorale.search.config.schema import SweepConfig
from tests.search.tracking.conftest import NAME, MadeUpStudy, fake, study
from tests.search.tracking.fake_mlflow import FakeMlflow

__all__ = ["fake", "study"]


def test_it_writes_what_is_missing_and_says_what_it_wrote(
    study: MadeUpStudy, fake: FakeMlflow, capsys: pytest.CaptureFixture[str]
) -> None:
    study.end("search", "0", "COMPLETE", curve=[0.5])
    words = ["track", "sync", NAME, "--runs", str(study.runs.root)]
    assert main(words) == 0
    place = f"MLflow at {fake.address}, experiment 'chorale'"
    assert capsys.readouterr().out == f"{place}: runs of {NAME}: 2 written\n"
    study.end("search", "1", "COMPLETE", curve=[0.5])
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "study": NAME, "place": place, "created": 1, "updated": 0, "unchanged": 2,
        "doubles_removed": 0, "left_out": [],
    }  # fmt: skip


def test_the_command_line_goes_before_the_sweep_file_and_that_before_the_environment(
    study: MadeUpStudy, fake: FakeMlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["track", "sync", NAME, "--runs", str(study.runs.root)]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    study.paths.sweep_yaml.write_text(
        f"track: {{name: mlflow, uri: '{fake.address}', experiment: x}}"
    )
    assert main(words) == 0
    assert list(fake.experiments) == ["x"]
    study.paths.sweep_yaml.write_text("track: {uri: 'http://127.0.0.1:1'}")
    assert main([*words, "--uri", fake.address, "--experiment", "y"]) == 0
    assert list(fake.experiments) == ["x", "y"]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--uri", "http://127.0.0.1:1"], "cannot be reached (connection refused)"),
        (["--uri", "http://me:t0psecret@h"], "--uri holds a user, a password or other parts"),
        (["--uri", "runs/mlruns"], "--uri is no server's address; give http://HOST:PORT"),
        (["--tracker", "wandb"], "unknown tracker 'wandb'; choose from: mlflow"),
        (["--runs", "elsewhere"], "there is no ledger 'elsewhere/chorale.db'"),
        ([], "no MLflow server is named; give track.uri"),
    ],
)
def test_each_mistake_is_one_line_and_exit_code_1(
    more: list[str],
    expected: str,
    study: MadeUpStudy,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert main(["track", "sync", NAME, "--runs", str(study.runs.root), *more]) == 1
    found = capsys.readouterr()
    assert expected in found.err
    assert (found.out, len(found.err.splitlines())) == ("", 1)
    assert "t0psecret" not in found.err


def test_a_study_without_its_folder_is_refused(
    study: MadeUpStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["track", "sync", NAME, "--store", study.runs.ledger_url, "--runs", str(tmp_path)]
    assert main(words) == 1
    assert "of the study, which has its curves and reports; name the" in capsys.readouterr().err
    assert not (tmp_path / NAME).exists()


def test_help_and_mistakes_import_nothing_heavy() -> None:
    code = (
        "import sys; from chorale.search.cli import main; main(['track', 'sync', '--help']); "
        "main(['track', 'sync']); "
        "sys.exit(bool({'torch', 'optuna', 'requests', 'pandas', 'rich'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        0,
        "chorale track sync: expected the name of a study; type: chorale track sync STUDY "
        "(chorale list shows them all)\n",
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("mlflow", {"name": "mlflow", "uri": None, "experiment": None}),
        (
            {"uri": "https://h:5000/", "experiment": "x"},
            {"name": "mlflow", "uri": "https://h:5000", "experiment": "x"},
        ),
    ],
)
def test_the_key_is_a_name_or_a_mapping(value: object, expected: Any) -> None:
    config = read_config(SweepConfig, {"dataset": {}, "track": value}, where="file")
    kept = to_plain_values(config)
    assert kept["track"] == expected
    assert read_config(SweepConfig, kept, where="file") == config


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"url": "x"}, "track.url: unknown key; did you mean 'uri'? allowed here: name, uri, exp"),
        (7, "track: should map keys to values, but got 7"),
        ({"uri": "http://me:t0psecret@h"}, "track.uri: holds a user, a password or other parts"),
    ],
)
def test_a_wrong_key_is_named_without_its_secret(value: object, expected: str) -> None:
    with pytest.raises(UserError) as failed:
        read_config(SweepConfig, {"dataset": {}, "track": value}, where="file")
    assert expected in str(failed.value)
    assert "t0psecret" not in str(failed.value)
