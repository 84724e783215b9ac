"""Errors of opening, reading and writing a ledger: one line each, and nothing is lost."""

import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa

from chorale.search.ledger import database, tables
from chorale.search.ledger.database import LedgerError
from chorale.search.ledger.file_systems import is_local
from chorale.search.ledger.ledger import Ledger, Row
from chorale.search.ledger.reader import LedgerReader


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chorale.db"


def _line(error: BaseException) -> str:
    line = str(error)
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("nonsense", "Could not parse"),
        ("sqlite:////proc/none/x.db", "No such file"),
        ("sqlite://", "an SQLite ledger needs a file"),
        ("sqlite:///x.db?timeout=soon", "soon"),
        ("mysql://h/d", "."),
        ("sqlite:///{here}", "is a folder, and not a file; name a file in it"),
        ("sqlite:///{file}/x.db", "is a file, and not a folder; name another"),
        ("postgresql+psycopg://u:secret@127.0.0.1:1/d", "refused; start the server"),
        ("postgresql+psycopg://u:secret@127.0.0.1:{silent}/d?connect_timeout=2", "does not answer"),
    ],
)
def test_the_error_for_a_bad_url_is_one_line(
    url: str, cause: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "psycopg" in url:
        pytest.importorskip("psycopg")
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "file"
    file.touch()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        url = url.format(here=tmp_path, file=file, silent=port)
        message = rf"the ledger '.*' cannot be opened: .*{cause}"
        with pytest.raises(LedgerError, match=message) as caught:
            Ledger(url)
    assert "--store" in _line(caught.value)
    assert "secret" not in str(caught.value)


def test_the_error_for_a_missing_driver_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(LedgerError, match=r"pip install 'psycopg\[binary\]") as caught:
        Ledger("postgresql://h/d")
    _line(caught.value)


def test_the_error_for_a_file_that_is_not_a_database_is_one_line(path: Path) -> None:
    path.write_text("not a database, but long enough to be taken for a file with a header" * 9)
    for opens in (Ledger, LedgerReader):
        with pytest.raises(LedgerError, match="cannot be opened: file is not a database"):
            opens(f"sqlite:///{path}")


def test_reading_creates_no_ledger(path: Path) -> None:
    with pytest.raises(LedgerError, match=r"there is no ledger .*chorale sweep.*--runs FOLDER"):
        LedgerReader(f"sqlite:///{path}")
    assert not path.exists()
    sqlite3.connect(path).execute("create table other (x)").connection.close()
    with pytest.raises(LedgerError, match="holds no ledger"):
        LedgerReader(f"sqlite:///{path}")


def test_a_ledger_of_a_newer_version_is_refused(ledger_url: str) -> None:
    ledger = Ledger(ledger_url)
    later = tables.SCHEMA + 1
    ledger._database.write(lambda c: c.execute(tables.schema.update().values(version=later)))
    ledger.close()
    for opens in (Ledger, LedgerReader):
        with pytest.raises(
            LedgerError, match=rf"created by a newer Chorale .*{later}.*upgrade"
        ) as e:
            opens(ledger_url)
        _line(e.value)


def test_trials_of_another_optuna_are_refused(path: Path) -> None:
    Ledger(f"sqlite:///{path}").close()
    with sqlite3.connect(path) as db:
        db.execute("update alembic_version set version_num = 'v99.0.0.a'")
    with pytest.raises(LedgerError, match=r"written by another Optuna .*--store") as caught:
        Ledger(f"sqlite:///{path}")
    _line(caught.value)


def _older(ledger_url: str) -> None:
    """Creates a ledger of schema version 1."""
    ledger = Ledger(ledger_url)
    ledger.create("old", {"split": "x"})
    ledger.record("old", "search", Row("0", "COMPLETE", facts={"metrics": {"accuracy": 0.5}}))
    ledger.release("old", "interrupted", spent_s=3.0)

    def undo(c: sa.Connection) -> None:
        c.exec_driver_sql("drop table chorale_schema")
        for column in ("holder_process", "sitting", "sat_down_s", "beat_s", "about"):
            c.exec_driver_sql(f"alter table chorale_studies drop column {column}")

    ledger._database.write(undo)
    ledger.close()


@pytest.mark.parametrize("opens", [Ledger, LedgerReader])
def test_a_ledger_of_an_older_version_is_upgraded(
    ledger_url: str, opens: type[LedgerReader]
) -> None:
    _older(ledger_url)
    first = opens(ledger_url)
    assert first.study("old").spent_s == 3.0
    first.close()
    ledger = Ledger(ledger_url)
    ledger.reopen("old", {"split": "x"}, about={"dataset": "gtzan"})
    ledger.record("old", "search", Row("1", "PRUNED"))
    assert sorted(ledger.rows("old", "search")) == ["0", "1"]
    assert ledger.study("old").about == {"dataset": "gtzan"}
    ledger.close()


def test_the_error_for_a_locked_database_is_one_line_and_pending_rows_are_written_later(
    path: Path,
) -> None:
    ledger = Ledger(f"sqlite:///{path}?timeout=0.05")
    ledger.create("a", {})
    study = optuna.create_study(study_name="a", storage=ledger.optuna)
    trial = study.ask()
    browser = sqlite3.connect(path, isolation_level=None)
    browser.execute("begin immediate")
    with pytest.raises(LedgerError, match=r"cannot be written: database is locked.*kept") as caught:
        ledger.record("a", "search", Row("0", "COMPLETE"))
    assert isinstance(caught.value.__cause__, sa.exc.OperationalError)
    _line(caught.value)
    with pytest.raises(LedgerError, match="is locked"):
        trial.report(0.5, 1)
    with pytest.raises(LedgerError, match="cannot be opened: database is locked"):
        Ledger(f"sqlite:///{path}?timeout=0.05")
    LedgerReader(f"sqlite:///{path}").close()  # readers never wait
    browser.execute("rollback")
    browser.close()
    ledger.record("a", "search", Row("0", "COMPLETE"))
    ledger.close()
    again = Ledger(f"sqlite:///{path}")
    (stored,) = optuna.load_study(study_name="a", storage=again.optuna).trials
    assert stored.intermediate_values == {1: 0.5}
    assert list(again.rows("a", "search")) == ["0"]
    again.close()


def test_a_transaction_that_reads_first_blocks_other_writers(path: Path) -> None:
    Ledger(f"sqlite:///{path}").close()
    first = database.Database(f"sqlite:///{path}")
    second = database.Database(f"sqlite:///{path}?timeout=0.05")

    def change(c: sa.Connection) -> None:
        c.execute(tables.looks.insert().values(study="a", split="s", looked_utc=""))

    def read_then_change(c: sa.Connection) -> None:
        c.execute(sa.select(tables.looks)).all()
        with pytest.raises(LedgerError, match="locked"):
            second.write(change)
        change(c)

    first.write(read_then_change)
    first.close()
    second.close()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter, unlike pytest's temporary folders."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


READ = """
import os, sys
from chorale.search.ledger.reader import LedgerReader
from chorale.search.ledger.ledger import Ledger
url, scratch = sys.argv[1:]
Ledger(scratch).close()  # late imports happen as the user who may read the modules
if os.geteuid() == 0:
    os.setegid(65534)
    os.seteuid(65534)
print(sorted(LedgerReader(url).rows("a", "search")))
Ledger(url)
"""


def test_a_read_only_ledger_can_be_read(open_folder: Path, tmp_path: Path) -> None:
    path = open_folder / "chorale.db"
    ledger = Ledger(f"sqlite:///{path}")
    ledger.record("a", "search", Row("0", "COMPLETE"))
    ledger.close()
    path.chmod(0o444)
    open_folder.chmod(0o555)
    done = subprocess.run(
        [sys.executable, "-c", READ, f"sqlite:///{path}", f"sqlite:///{tmp_path / 'other.db'}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "['0']\n", done.stderr
    line = done.stderr.splitlines()[-1]
    assert "cannot be opened: attempt to write a readonly database; make the file" in line
    assert "--store" in line


@pytest.mark.parametrize("local", [True, False])
def test_a_recorded_trial_is_synced_to_disk_on_any_file_system(
    path: Path, monkeypatch: pytest.MonkeyPatch, local: bool
) -> None:
    monkeypatch.setattr(database, "is_local", lambda _: local)
    ledger = Ledger(f"sqlite:///{path}")

    def setting(c: sa.Connection) -> tuple[str, int]:
        mode = str(c.exec_driver_sql("pragma journal_mode").scalar_one())
        return mode, int(c.exec_driver_sql("pragma synchronous").scalar_one())

    full, normal = 2, 1
    found = [ledger._database.write(setting, durable=durable) for durable in (True, False)]
    assert found == ([("wal", full), ("wal", normal)] if local else [("delete", full)] * 2)
    ledger.record("a", "search", Row("0", "COMPLETE"))
    ledger.close()


@pytest.mark.parametrize(
    ("mounts", "local"),
    [
        ("1 0 8:1 / / rw - ext4 /dev/sda rw\n", True),
        ("1 0 8:1 / / rw - ext4 /dev/sda rw\n2 1 0:9 / {0} rw - nfs4 host:/x rw\n", False),
        ("2 1 0:9 / {0} rw - nfs4 host:/x rw\n1 0 8:1 / / rw - ext4 /dev/sda rw\n", False),
        ("1 0 0:9 / / rw - nfs h:/ rw\n2 1 8:1 / {0} rw shared:1 - xfs /dev/sda rw\n", True),
        ("", False),
    ],
)
def test_only_file_systems_of_this_machine_are_local(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounts: str, local: bool
) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    table = tmp_path / "mountinfo"
    table.write_text(mounts.format(str(folder).replace(" ", "\\040")))
    monkeypatch.setattr("chorale.search.ledger.file_systems.MOUNTS", table)
    assert is_local(folder / "new" / "chorale.db") is local


def test_the_error_for_a_disk_failure_while_optuna_creates_tables_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        try:
            raise sa.exc.OperationalError("COMMIT", {}, sqlite3.OperationalError("disk I/O error"))
        except sa.exc.OperationalError as error:
            raise optuna.exceptions.StorageInternalError(
                "An exception is raised during the commit."
            ) from error

    monkeypatch.setattr("chorale.search.ledger.trials.RDBStorage", fails)
    with pytest.raises(LedgerError, match="cannot be opened: disk I/O error"):
        Ledger(f"sqlite:///{tmp_path}/l.db")
