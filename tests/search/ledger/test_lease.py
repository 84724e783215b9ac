"""Leases: live, dead and remote owners, and writes of a process that lost its lease."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa

from chorale.datasets.errors import UserError
from chorale.search.cli import main
from chorale.search.ledger import heartbeat, owner
from chorale.search.ledger.database import LedgerError
from chorale.search.ledger.ledger import Ledger, Row
from chorale.search.ledger.owner import STALE_S, Owner
from chorale.search.paths import Runs

HERE = socket.gethostname()
needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="/proc is not here")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'chorale.db'}"


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    opened = Ledger(url)
    opened.create("a", {})
    yield opened
    opened.close()


def _give_lease(ledger: Ledger, **columns: Any) -> None:
    """Gives the lease of study a to another owner."""
    columns = {"sitting": "theirs", **columns}
    sets = ", ".join(f"{name} = :{name}" for name in columns)
    ledger._lease.release()
    ledger._database.write(
        lambda c: c.execute(sa.text(f"update chorale_studies set {sets}"), columns)
    )


def _moment_s(ledger: Ledger, age_s: float) -> float:
    """The database's time `age_s` ago."""
    return ledger._database.read(ledger._database.now_s) - age_s


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    yield process
    process.kill()
    process.wait()


@needs_proc
def test_a_study_that_another_process_runs_is_refused_until_it_dies(
    ledger: Ledger, other: "subprocess.Popen[bytes]"
) -> None:
    process = owner._identity(other.pid)
    _give_lease(ledger, holder=f"{HERE}:{other.pid}", holder_process=process)
    with pytest.raises(UserError, match=rf"being run by .*:{other.pid} .*--take-over"):
        ledger.reopen("a", {})
    with pytest.raises(UserError, match="being run by"):
        ledger.refuse_leased("a")
    assert ledger.study("a").state == "running"
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # a zombie
    assert ledger.study("a").state == "interrupted"
    assert ledger.study("a").died
    ledger.refuse_leased("a")
    ledger.reopen("a", {})
    assert ledger.study("a").owner == f"{HERE}:{os.getpid()}"


@needs_proc
@pytest.mark.parametrize("words", [[], ["--resume"]])
def test_starting_a_running_sweep_again_names_its_owner(
    tiny: list[str],
    tmp_path: Path,
    other: subprocess.Popen[bytes],
    capsys: pytest.CaptureFixture[str],
    words: list[str],
) -> None:
    ledger = Ledger(Runs(tmp_path / "runs").ledger_url)
    ledger.create("tiny", {})
    identity = owner._identity(other.pid)
    _give_lease(ledger, holder=f"{HERE}:{other.pid}", holder_process=identity)
    ledger.close()
    assert main(["sweep", *tiny, *words]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"study 'tiny' is being run by {HERE}:{other.pid} (last heartbeat" in line


@needs_proc
def test_another_process_with_the_pid_of_a_dead_owner_does_not_count(
    ledger: Ledger, other: "subprocess.Popen[bytes]"
) -> None:
    process = str(owner._identity(other.pid))
    earlier = process.rpartition(":")[0] + ":1"  # started long before
    _give_lease(ledger, holder=f"{HERE}:{other.pid}", holder_process=earlier)
    ledger.reopen("a", {})
    assert ledger.study("a").owner == Owner.current().name


@pytest.mark.parametrize(
    ("name", "process"),
    [
        ("elsewhere:7", "boot/pid:[1]:5"),
        (f"{HERE}:7", "another boot/pid:[1]:5"),
        (f"{HERE}:{os.getpid()}", "another boot/pid:[1]:5"),
    ],
    ids=["another machine", "another machine of the same name", "a container like this one"],
)
def test_an_owner_on_another_machine_is_alive_as_long_as_its_heartbeat_is_recent(
    ledger: Ledger, name: str, process: str
) -> None:
    _give_lease(ledger, holder=name, holder_process=process, beat_s=_moment_s(ledger, STALE_S - 60))
    with pytest.raises(UserError, match=rf"being run by {name} \(last heartbeat 1[12]\d s ago"):
        ledger.reopen("a", {})
    _give_lease(ledger, beat_s=_moment_s(ledger, STALE_S + 60))
    ledger.reopen("a", {})


def test_an_owner_without_a_known_heartbeat_counts_as_alive() -> None:
    assert Owner("elsewhere:7", "").is_alive(heartbeat_age_s=None)


def test_a_taken_over_study_can_be_written_by_its_new_owner_only(url: str, ledger: Ledger) -> None:
    study = optuna.create_study(study_name="a", storage=ledger.optuna)
    trial = study.ask()
    ledger.flush()
    ledger.record("a", "search", Row("0", "COMPLETE"))
    second = Ledger(url)
    second.reopen("a", {}, take_over=True)
    with pytest.raises(LedgerError, match=f"'a' was taken over by {HERE}:.*this process stops"):
        ledger.record("a", "search", Row("1", "COMPLETE"))
    with pytest.raises(LedgerError, match="was taken over"):
        ledger.count_test_look("a", "split")
    with pytest.raises(LedgerError, match="was taken over"):
        ledger.release("a", "complete", spent_s=1.0)
    ledger.optuna._guarded_s = -1e9  # a second is over
    with pytest.raises(LedgerError, match="was taken over"):
        trial.report(0.5, 1)
    second.record("a", "search", Row("2", "COMPLETE"))
    assert sorted(second.rows("a", "search")) == ["0", "2"]
    assert second.state("a") == "running"
    second.close()


def test_taking_over_a_live_lease_needs_take_over(ledger: Ledger) -> None:
    _give_lease(ledger, holder="elsewhere:7", beat_s=_moment_s(ledger, 1))
    with pytest.raises(UserError, match="being run by elsewhere:7"):
        ledger.reopen("a", {})
    ledger.reopen("a", {}, take_over=True)
    ledger.record("a", "search", Row("0", "COMPLETE"))


def test_the_session_of_a_dead_owner_counts_up_to_its_last_heartbeat(
    ledger: Ledger,
) -> None:
    began_s = _moment_s(ledger, STALE_S + 500)
    _give_lease(ledger, holder="elsewhere:7", sat_down_s=began_s, beat_s=began_s + 100)
    assert ledger.study("a").spent_s == pytest.approx(100)
    ledger.reopen("a", {})
    ledger.release("a", "interrupted", spent_s=5.0)
    assert ledger.spent_s("a") == pytest.approx(105)


@pytest.fixture
def fast_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "HEARTBEAT_INTERVAL_S", 0.01)


@pytest.mark.usefixtures("fast_heartbeat")
def test_an_idle_owner_sends_heartbeats(url: str) -> None:
    before = threading.enumerate()  # other tests may have left a ledger open
    ledger = Ledger(url)
    ledger.create("a", {})
    first_s = ledger._study("a").beat_s
    for _ in range(2000):
        if ledger._study("a").beat_s > first_s:
            break
        threading.Event().wait(0.01)
    assert ledger._study("a").beat_s > first_s
    ledger.release("a", "complete", spent_s=1.0)
    names = [thread.name for thread in threading.enumerate() if thread not in before]
    ledger.close()
    assert "ledger heartbeat" not in names


def test_a_failed_heartbeat_does_not_raise(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(work: Callable[..., Any], **_: object) -> None:
        raise LedgerError("the server does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(ledger._database, "write", fails)
        ledger._lease._renew()
    ledger.record("a", "search", Row("0", "COMPLETE"))
    assert ledger.rows("a", "search")["0"].state == "COMPLETE"
