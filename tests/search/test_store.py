import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from datasets.errors import UserError
from search.store import Ledger, Row


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'runs' / 'chorale.db'}"


def test_a_recorded_row_is_there_for_the_next_process(url: str) -> None:
    first = Ledger(url)
    first.create("a", {"split": "x"})
    row = Row("3", "FAIL", "diverged: loss is nan", {"architecture": "cnn"})
    first.record("a", "search", row)
    first.close()
    second = Ledger(url)
    assert second.rows("a", "search") == {"3": row}
    assert second.rows("a", "finalists") == {}


def test_recording_again_replaces(url: str) -> None:
    ledger = Ledger(url)
    ledger.record("a", "search", Row("1", "FAIL", "lost"))
    ledger.record("a", "search", Row("1", "COMPLETE"))
    assert [row.state for row in ledger.rows("a", "search").values()] == ["COMPLETE"]


def test_a_study_that_exists_is_not_made_twice(url: str) -> None:
    ledger = Ledger(url)
    ledger.create("a", {})
    with pytest.raises(UserError, match=r"exists already.*--resume.*--name a-2"):
        ledger.create("a", {})


def test_resuming_what_was_changed_names_what_was_changed(url: str) -> None:
    ledger = Ledger(url)
    ledger.create("a", {"split": "x", "space": {"lr": "wide"}})
    ledger.leave("a", "interrupted", spent_s=1.0)
    with pytest.raises(UserError, match="another space;"):
        ledger.reopen("a", {"split": "x", "space": {"lr": "narrow"}})
    ledger.reopen("a", {"split": "x", "space": {"lr": "wide"}})
    assert ledger.state("a") == "running"


def test_a_study_that_another_process_runs_is_refused(url: str) -> None:
    ledger = Ledger(url)
    ledger.create("a", {})
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        with ledger.engine.begin() as c:
            c.execute(
                sa.text("update chorale_studies set holder = :h"),
                {"h": f"{socket.gethostname()}:{other.pid}"},
            )
        with pytest.raises(UserError, match=f"being run by .*:{other.pid}"):
            ledger.reopen("a", {})
    finally:
        other.kill()
        other.wait()
    ledger.reopen("a", {})  # its holder is dead: it is free


def test_time_spent_adds_up_over_sittings(url: str) -> None:
    ledger = Ledger(url)
    ledger.create("a", {})
    ledger.leave("a", "interrupted", spent_s=2.0)
    ledger.reopen("a", {})
    ledger.leave("a", "complete", spent_s=3.0)
    assert ledger.spent_s("a") == 5.0


def test_looks_are_counted_over_all_studies_of_a_split(url: str) -> None:
    ledger = Ledger(url)
    assert [ledger.look("a", "s"), ledger.look("b", "s"), ledger.look("b", "other")] == [1, 2, 1]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match=r"cannot be opened.*--store"):
        Ledger(f"sqlite:///{tmp_path / 'chorale.db'}")


@pytest.mark.parametrize("url", ["nonsense", "sqlite:////proc/none/x.db", "mysql://h/d"])
def test_a_bad_database_is_one_clear_line(url: str) -> None:
    with pytest.raises(UserError, match=r"the ledger '.*' cannot be opened: [^\n]+--store"):
        Ledger(url)


def test_a_file_that_is_no_database_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "chorale.db"
    path.write_text("not a database, but long enough to be taken for a file with a header" * 9)
    with pytest.raises(UserError, match="cannot be opened"):
        Ledger(f"sqlite:///{path}")
