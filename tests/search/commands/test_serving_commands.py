"""`chorale tensorboard` and `chorale dashboard`: local web pages until Ctrl-C."""

import importlib.util
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
from optuna.exceptions import StorageInternalError

from chorale.search.cli import main
from chorale.search.commands.local_page import HOST
from chorale.search.ledger.ledger import Ledger, LedgerError, Row
from chorale.search.ledger.optuna_view import open_view
from chorale.search.report.tensorboard import write_hparams

needs_dashboard = pytest.mark.skipif(
    importlib.util.find_spec("optuna_dashboard") is None,
    reason="optuna-dashboard is not installed (pip install '.[dashboard]')",
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with three trials in its ledger, and a trial's parameters for TensorBoard."""
    runs = tmp_path_factory.mktemp("served") / "runs"
    folder = runs / "digits"
    write_hparams(
        folder / "trials" / "0000", {"lr": 0.1}, {"final/accuracy": 0.5},
        status="STATUS_FAILURE", began=0.0,
    )  # fmt: skip
    (folder / "sweep.yaml").write_text("{}")
    ledger = Ledger(f"sqlite:///{runs / 'chorale.db'}")
    ledger.create("digits", {})
    study = optuna.create_study(storage=ledger.optuna, study_name="digits")
    for _ in range(3):
        trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
        study.tell(trial, trial.params["x"])
        ledger.record("digits", "search", Row(str(trial.number), "COMPLETE"))
    ledger.release("digits", "complete", spent_s=0.0)
    ledger.close()
    return runs


@contextmanager
def serving(command: str, runs: Path) -> Iterator[str]:
    """The URL that the command prints; afterwards it must exit cleanly at Ctrl-C."""
    args = [
        sys.executable,
        "-m",
        "chorale.search",
        command,
        "digits",
        "--runs",
        str(runs),
        "--port",
        "0",
    ]
    with subprocess.Popen(
        args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found, process.communicate()
            yield found[0]
        finally:
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "has ended" in out
    assert "Traceback" not in err


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return str(answer.read().decode())


def test_tensorboard_serves_the_studys_folder_on_this_machine_until_ctrl_c(runs: Path) -> None:
    with serving("tensorboard", runs) as url:
        assert url.startswith(f"http://{HOST}:")
        assert "trials/0000" in get(url + "data/runs") or "TensorBoard" in get(url)


@needs_dashboard
def test_the_dashboard_reads_the_ledger_and_changes_nothing(runs: Path) -> None:
    with serving("dashboard", runs) as url:
        base, _, number = url.partition("/dashboard/studies/")
        trials = json.loads(get(f"{base}/api/studies/{number}?after=0"))["trials"]
        assert [trial["state"] for trial in trials] == ["Complete"] * 3
        for method, path in (("DELETE", f"/api/studies/{number}"), ("POST", "/api/studies")):
            asked = urllib.request.Request(base + path, data=b"{}", method=method)
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(asked, timeout=30)
        assert json.loads(get(f"{base}/api/studies"))["study_summaries"]


def test_the_dashboards_storage_is_read_only(ledger_url: str) -> None:
    ledger = Ledger(ledger_url)
    ledger.create("digits", {})
    study = optuna.create_study(storage=ledger.optuna, study_name="digits")
    study.tell(study.ask(), 1.0)
    view = open_view(ledger_url)
    number = view.get_study_id_from_name("digits")
    assert len(view.get_all_trials(number)) == 1
    study.tell(study.ask(), 2.0)
    assert len(view.get_all_trials(number)) == 2, "trials that come later are seen"
    with pytest.raises(StorageInternalError):
        view.delete_study(number)
    assert len(view.get_all_trials(number)) == 2
    ledger.close()
    view.engine.dispose()


def test_a_missing_ledger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="cannot be read"):
        open_view(f"sqlite:///{tmp_path / 'none.db'}")


@pytest.mark.parametrize(
    "command", ["tensorboard", pytest.param("dashboard", marks=needs_dashboard)]
)
def test_a_taken_port_is_reported_in_one_line(
    runs: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert main([command, "digits", "--runs", str(runs), "--port", port]) == 1
    assert f"port {port} is taken; choose another with --port" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["tensorboard", "dashboard"])
@pytest.mark.parametrize(
    ("args", "expected", "code"),
    [
        (["digit"], "unknown study 'digit'; did you mean 'digits'?", 1),
        ([], "expected the name of a study", 2),
        (["digits", "--port", "many"], "--port should be a whole number", 2),
        (["digits", "--port", "65536"], "--port should be a whole number", 2),
        (["digits", "--runs", "nowhere"], "start one with: chorale sweep", 1),
    ],
)
def test_wrong_arguments_are_reported_in_one_line(
    runs: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    args: list[str],
    expected: str,
    code: int,
) -> None:
    where = [] if "--runs" in args else ["--runs", str(runs)]
    assert main([command, *args, *where]) == code
    error = capsys.readouterr().err
    assert expected in error
    assert len(error.splitlines()) == 1


def test_a_missing_dashboard_package_is_reported_with_the_install_command(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    assert main(["dashboard", "digits", "--runs", str(runs)]) == 1
    assert f"{sys.executable} -m pip install 'optuna-dashboard>=" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["tensorboard", "dashboard"])
def test_help_describes_the_pages(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert main([command, "--help"]) == 0
    assert "--port N" in capsys.readouterr().out
