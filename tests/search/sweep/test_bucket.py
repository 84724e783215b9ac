"""A bucket as the folder of all studies; a folder by its URL stands in for one."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chorale.datasets.errors import UserError
from chorale.search.cli import main
from chorale.search.ledger.ledger import Ledger
from chorale.search.ledger.reader import LedgerReader
from chorale.search.paths import folder_of, is_bucket
from chorale.search.sweep import bucket
from chorale.search.sweep.bucket import Bucket, carried
from chorale.search.sweep.bucket_lease import Writer


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "bucket").mkdir()
    at_machine("one", tmp_path, monkeypatch)
    return (tmp_path / "bucket" / "team").as_uri()


def at_machine(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on this is another machine: it has a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))


def silent(said: str) -> None:
    raise AssertionError(f"nothing was to be told, but got: {said}")


@pytest.mark.parametrize(
    ("runs", "expected"),
    [("runs", False), ("/a/b", False), ("s3://b/c", True), ("gs://b", True), ("C:/b", False)],
)
def test_a_bucket_is_told_from_a_folder(runs: str, expected: bool) -> None:
    assert is_bucket(runs) is expected


def test_a_folder_means_itself_and_buckets_have_copies_of_their_own() -> None:
    assert folder_of("runs") == Path("runs")
    assert folder_of("s3://b/a-c") != folder_of("s3://b/a/c")
    assert folder_of("s3://b/a/") == folder_of("s3://b/a")


@pytest.mark.slow
def test_a_study_goes_on_at_another_machine(
    url: str,
    tiny: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [*tiny, "--name", "far", "--runs", url, "--budget.trials", "2"]
    words += ["--cluster.address", "none"]
    assert main(["sweep", *words]) == 0
    first = folder_of(url)
    shutil.rmtree(first)  # this machine is gone

    at_machine("two", tmp_path, monkeypatch)
    assert main(["status", "far", "--runs", url]) == 0
    assert "2 trials" in capsys.readouterr().out
    assert main(["resume", "far", "--runs", url, "--budget.trials", "3"]) == 0
    here = folder_of(url)
    assert here != first
    assert (here / "far" / "report.html").is_file()

    at_machine("three", tmp_path, monkeypatch)
    Bucket(url).fetch("far")
    rows = LedgerReader(Bucket(url).copy.ledger_url).rows("far", "search")
    assert [row.state for row in rows.values()].count("RUNNING") == 0
    assert len(rows) == 3
    ours, theirs = (
        {p.relative_to(top) for p in (top / "far").rglob("*") if p.is_file()}
        for top in (here, folder_of(url))
    )
    assert ours == theirs
    assert main(["ensemble", "far", "--runs", url]) == 0
    assert not list((tmp_path / "bucket").rglob("writer.json"))


def test_what_is_new_is_carried_and_what_is_gone_goes(url: str) -> None:
    study = Bucket(url).copy.study("s").root
    there = Path(url.removeprefix("file://")) / "s"
    with carried(url, "s", tell=silent):
        (study / "state").mkdir(parents=True)
        (study / "state" / "a").write_text("1")
        (study / ".half").write_text("not yet")
    assert sorted(p.name for p in there.rglob("*") if p.is_file()) == ["a"]
    with carried(url, "s", tell=silent):
        pass
    (study / "state" / "a").write_text("2")
    with carried(url, "s", tell=silent):
        (study / "b").write_text("3")
    assert (there / "state" / "a").read_text() in ("1", "2")


def test_changes_travel_while_the_block_runs(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "CARRY_S", 0.05)
    there = Path(url.removeprefix("file://")) / "s" / "a"
    with carried(url, "s", tell=silent):
        study = Bucket(url).copy.study("s").root
        study.mkdir(parents=True)
        (study / "a").write_text("1")
        give_up = time.monotonic() + 20
        while not there.is_file():
            assert time.monotonic() < give_up
            time.sleep(0.01)


def test_two_machines_do_not_write_one_ledger(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = Path(url.removeprefix("file://")) / "writer.json"
    there.parent.mkdir()
    there.write_text(json.dumps({"name": "far:7", "process": "", "at_s": time.time()}))
    with (
        pytest.raises(UserError, match=r"far:7 is writing.*own runs"),
        carried(url, "s", tell=silent),
    ):
        raise AssertionError("it must not begin")
    there.write_text(json.dumps({"name": "far:7", "process": "", "at_s": time.time() - 3600}))
    with carried(url, "s", tell=silent):
        pass


def test_what_a_sweep_here_is_writing_is_not_overwritten(url: str) -> None:
    with carried(url, "s", tell=silent):
        study = Bucket(url).copy.study("s").root
        study.mkdir(parents=True)
        (study / "a").write_text("there")
    with carried(url, "s", tell=silent):
        (study / "a").write_text("newer")
        Bucket(url).fetch("s")
        assert (study / "a").read_text() == "newer"


def test_a_bucket_that_cannot_be_written_is_told_before_anything_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_machine("one", tmp_path, monkeypatch)
    (tmp_path / "file").write_text("no folder")
    with (
        pytest.raises(UserError, match=r"cannot be used .*may read and write it"),
        carried((tmp_path / "file" / "below").as_uri(), "s", tell=silent),
    ):
        raise AssertionError("it must not begin")


def test_one_that_nothing_reads_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)  # as where it is not installed
    with pytest.raises(UserError, match=r"nothing here reads .*pip install 'gcsfs>="):
        Bucket("gs://team/chorale")
    with pytest.raises(UserError, match=r"is no place that can be read"):
        Bucket("ftpx://team/chorale")


KILLED = """
import os, sys
from chorale.search.sweep.bucket import Bucket, carried
from chorale.search.ledger.ledger import Ledger

url = sys.argv[1]
with carried(url, "s", tell=print):
    ledger = Ledger(Bucket(url).copy.ledger_url)
    ledger.create("s", {"of": sys.argv[2]})
    os._exit(9)  # what was committed last lies in SQLite's log, and was not carried
"""


def die_writing(url: str, name: str) -> None:
    words = [sys.executable, "-c", KILLED, url, name]
    root = str(Path(bucket.__file__).parents[2])
    done = subprocess.run(words, check=False, env={**os.environ, "PYTHONPATH": root})
    assert done.returncode == 9


def studies(url: str) -> list[str]:
    reader = LedgerReader(Bucket(url).copy.ledger_url)
    try:
        return list(reader.studies())
    finally:
        reader.close()


def test_what_a_killed_sweep_committed_last_is_not_lost_to_the_bucket(url: str) -> None:
    with carried(url, "old", tell=silent):
        Ledger(Bucket(url).copy.ledger_url).close()
    die_writing(url, "first")
    Bucket(url).fetch("s")
    assert studies(url) == ["s"]
    with carried(url, "s", tell=silent):  # its writer is dead, so nobody is waited for
        pass
    shutil.rmtree(folder_of(url))
    Bucket(url).fetch("s")
    assert studies(url) == ["s"]


def test_the_log_of_a_killed_sweep_is_not_read_into_a_ledger_that_came_later(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with carried(url, "old", tell=silent):
        Ledger(Bucket(url).copy.ledger_url).close()
    die_writing(url, "first")
    ledger = Bucket(url).copy.ledger
    assert ledger.with_name("chorale.db-wal").is_file()

    at_machine("two", tmp_path, monkeypatch)
    monkeypatch.setattr(Writer, "lives", lambda _: False)  # the first machine is gone
    with carried(url, "t", tell=silent):
        other = Ledger(Bucket(url).copy.ledger_url)
        other.create("t", {})
        other.leave("t", "complete", spent_s=1.0)
        other.close()

    at_machine("one", tmp_path, monkeypatch)
    Bucket(url).fetch("t")
    assert studies(url) == ["t"]


def test_an_unforeseen_error_is_told_and_carrying_goes_on(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket, "CARRY_S", 0.05)
    real, fails = Bucket._snapshot, [False]
    told: list[str] = []

    def snapshot(self: Bucket) -> Path | None:
        if fails[0]:
            raise sqlite3.DatabaseError("database disk image is malformed")
        return real(self)

    monkeypatch.setattr(Bucket, "_snapshot", snapshot)
    there = Path(url.removeprefix("file://")) / "s" / "a"
    with carried(url, "s", tell=told.append):
        fails[0] = True
        give_up = time.monotonic() + 20
        while len(told) < 2:
            assert time.monotonic() < give_up
            time.sleep(0.01)
        fails[0] = False
        study = Bucket(url).copy.study("s").root
        study.mkdir(parents=True)
        (study / "a").write_text("1")
        while not there.is_file():
            assert time.monotonic() < give_up
            time.sleep(0.01)
    assert "DatabaseError: database disk image is malformed); it is tried again" in told[0]
