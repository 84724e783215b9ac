"""Durability: a full disk or a killed process loses no recorded trial."""

import resource
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import optuna
import pytest

from chorale.search.ledger.database import LedgerError
from chorale.search.ledger.ledger import Ledger, Row


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chorale.db"


def _line(error: BaseException) -> str:
    line = str(error)
    assert "\n" not in line
    return line


def _fill(ledger: Ledger) -> int:
    """Records trials until the disk is full; returns the number recorded."""
    study = optuna.create_study(study_name="a", storage=ledger.optuna)
    for number in range(10_000):
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        row = Row(str(number), "COMPLETE", facts={"traceback": "x" * 5000})
        try:
            ledger.record("a", "search", row)
        except LedgerError as error:
            met = error
            break
        study.tell(trial, 0.5)
    else:
        raise RuntimeError("the disk was never full")
    line = _line(met)
    assert "cannot be written" in line
    assert "everything recorded before is kept" in line
    return number


def _check_intact(path: Path, n: int) -> None:
    """Every recorded trial is there once, the file is intact, and the study can be resumed."""
    with sqlite3.connect(path) as db:
        assert db.execute("pragma integrity_check").fetchone() == ("ok",)
    ledger = Ledger(f"sqlite:///{path}")
    assert set(ledger.rows("a", "search")) == {str(number) for number in range(n)}
    study = optuna.load_study(study_name="a", storage=ledger.optuna)
    assert [t.number for t in study.trials if t.state.is_finished()] == list(range(n))
    ledger.reopen("a", {})
    ledger.record("a", "search", Row(str(n), "COMPLETE"))
    ledger.release("a", "complete", spent_s=1.0)
    ledger.close()


def test_a_full_disk_loses_no_recorded_trial(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        ledger = Ledger(f"sqlite:///{disk / 'chorale.db'}")
        ledger.create("a", {})
        n = _fill(ledger)
        with pytest.raises(LedgerError, match="free some space on its disk"):
            ledger.record("a", "search", Row("0", "FAIL", "x" * 2_000_000))
        ledger.close()
        shutil.copytree(disk, tmp_path / "roomy")
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert n > 10
    _check_intact(tmp_path / "roomy" / "chorale.db", n)


def test_a_file_size_limit_loses_no_recorded_trial(path: Path) -> None:
    ledger = Ledger(f"sqlite:///{path}")
    ledger.create("a", {})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, before[1]))
    try:
        n = _fill(ledger)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    ledger.close()
    assert n > 10
    _check_intact(path, n)


KILLED = """
import sys, optuna
from chorale.search.ledger.ledger import Ledger, Row
ledger = Ledger(sys.argv[1])
ledger.create("a", {})
study = optuna.create_study(study_name="a", storage=ledger.optuna)
for number in range(100000):
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    trial.report(0.5, 1)
    ledger.record("a", "search", Row(str(number), "COMPLETE"))
    print(number, flush=True)
    study.tell(trial, 0.5)
"""


def test_every_trial_recorded_before_a_kill_is_there_once(path: Path) -> None:
    url = f"sqlite:///{path}"
    words = [sys.executable, "-c", KILLED, url]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if process.stdout is None:
        raise RuntimeError("no pipe")
    printed = [next(process.stdout) for _ in range(20)]
    process.kill()
    n = len(printed + process.stdout.readlines())
    process.wait()
    ledger = Ledger(url)
    rows = ledger.rows("a", "search")
    assert set(rows) - {str(n)} == {str(number) for number in range(n)}  # one may not be printed
    trials = optuna.load_study(study_name="a", storage=ledger.optuna).trials
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert len(trials) - len(rows) in (0, 1)
    assert all(trial.params and trial.intermediate_values for trial in trials[: len(rows)])
    assert ledger.study("a").state == "interrupted"
    ledger.reopen("a", {})
    ledger.close()
