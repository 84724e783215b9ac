"""Runs in object storage, tested with a local folder as a `file://` URL."""

import json
import multiprocessing
import os
import shutil
import sqlite3
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
from chorale.search.sweep.bucket import Bucket, synchronised
from chorale.search.sweep.bucket_lease import BucketLease


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "bucket").mkdir()
    switch_machine("one", tmp_path, monkeypatch)
    return (tmp_path / "bucket" / "team").as_uri()


def switch_machine(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulates another machine: from now on the local copy is in another cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))


def no_warning(line: str) -> None:
    raise AssertionError(f"no warning was expected, but got: {line}")


@pytest.mark.parametrize(
    ("runs", "expected"),
    [("runs", False), ("/a/b", False), ("s3://b/c", True), ("gs://b", True), ("C:/b", False)],
)
def test_urls_are_buckets_and_paths_are_folders(runs: str, expected: bool) -> None:
    assert is_bucket(runs) is expected


def test_a_folder_is_used_directly_and_each_bucket_has_its_own_local_copy() -> None:
    assert folder_of("runs") == Path("runs")
    assert folder_of("s3://b/a-c") != folder_of("s3://b/a/c")
    assert folder_of("s3://b/a/") == folder_of("s3://b/a")


@pytest.mark.slow
def test_a_study_resumes_on_another_machine(
    url: str,
    tiny: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    args = [*tiny, "--name", "far", "--runs", url, "--budget.trials", "2"]
    args += ["--cluster.address", "none", "--budget.max_epochs", "1", "--finalists.configs", "1"]
    args += ["--ensemble.kinds", "[soft_vote]", "--ensemble.baselines", "none"]
    assert main(["sweep", *args]) == 0
    first = folder_of(url)
    shutil.rmtree(first)  # the first machine no longer exists

    switch_machine("two", tmp_path, monkeypatch)
    assert main(["status", "far", "--runs", url]) == 0
    assert "2 trials" in capsys.readouterr().out
    assert main(["resume", "far", "--runs", url, "--budget.trials", "3"]) == 0
    here = folder_of(url)
    assert here != first
    assert (here / "far" / "report.html").is_file()

    switch_machine("three", tmp_path, monkeypatch)
    Bucket(url).fetch("far")
    rows = LedgerReader(Bucket(url).copy.ledger_url).rows("far", "search")
    assert [row.state for row in rows.values()].count("RUNNING") == 0
    assert len(rows) == 3
    local, other = (
        {p.relative_to(top) for p in (top / "far").rglob("*") if p.is_file()}
        for top in (here, folder_of(url))
    )
    assert local == other
    assert main(["ensemble", "far", "--runs", url]) == 0
    assert not list((tmp_path / "bucket").rglob("writer.json"))


def test_new_files_are_uploaded_and_removed_ones_are_deleted(url: str) -> None:
    study = Bucket(url).copy.study("s").root
    there = Path(url.removeprefix("file://")) / "s"
    with synchronised(url, "s", warn=no_warning):
        (study / "state").mkdir(parents=True)
        (study / "state" / "a").write_text("1")
        (study / ".half").write_text("not yet")
    assert sorted(p.name for p in there.rglob("*") if p.is_file()) == ["a"]
    with synchronised(url, "s", warn=no_warning):
        pass
    (study / "state" / "a").write_text("2")
    with synchronised(url, "s", warn=no_warning):
        (study / "b").write_text("3")
    assert (there / "state" / "a").read_text() in ("1", "2")


def test_changes_are_uploaded_while_the_block_runs(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket, "UPLOAD_INTERVAL_S", 0.05)
    there = Path(url.removeprefix("file://")) / "s" / "a"
    with synchronised(url, "s", warn=no_warning):
        study = Bucket(url).copy.study("s").root
        study.mkdir(parents=True)
        (study / "a").write_text("1")
        deadline = time.monotonic() + 20
        while not there.is_file():
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_second_machine_may_not_write_the_same_ledger(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = Path(url.removeprefix("file://")) / "writer.json"
    there.parent.mkdir()
    there.write_text(json.dumps({"name": "far:7", "process": "", "at_s": time.time()}))
    with (
        pytest.raises(UserError, match=r"far:7 is writing.*own runs"),
        synchronised(url, "s", warn=no_warning),
    ):
        raise AssertionError("the block must not run")
    there.write_text(json.dumps({"name": "far:7", "process": "", "at_s": time.time() - 3600}))
    with synchronised(url, "s", warn=no_warning):
        pass


def test_fetching_does_not_overwrite_files_of_a_sweep_that_runs_here(url: str) -> None:
    with synchronised(url, "s", warn=no_warning):
        study = Bucket(url).copy.study("s").root
        study.mkdir(parents=True)
        (study / "a").write_text("there")
    with synchronised(url, "s", warn=no_warning):
        (study / "a").write_text("newer")
        Bucket(url).fetch("s")
        assert (study / "a").read_text() == "newer"


def test_a_bucket_that_cannot_be_written_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch_machine("one", tmp_path, monkeypatch)
    (tmp_path / "file").write_text("no folder")
    with (
        pytest.raises(UserError, match=r"cannot be used .*may read and write it"),
        synchronised((tmp_path / "file" / "below").as_uri(), "s", warn=no_warning),
    ):
        raise AssertionError("the block must not run")


def test_an_error_for_an_unsupported_protocol_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)  # as if it were not installed
    with pytest.raises(UserError, match=r"no installed package reads .*pip install 'gcsfs>="):
        Bucket("gs://team/chorale")
    with pytest.raises(UserError, match=r"cannot be read"):
        Bucket("ftpx://team/chorale")


def die_while_writing(url: str, name: str) -> None:
    with synchronised(url, "s", warn=print):
        ledger = Ledger(Bucket(url).copy.ledger_url)
        ledger.create("s", {"of": name})
        os._exit(9)  # the last commit is in SQLite's write-ahead log only, and was not uploaded


def run_killed_writer(url: str, name: str) -> None:
    process = multiprocessing.get_context("fork").Process(
        target=die_while_writing, args=(url, name)
    )
    process.start()
    process.join()
    assert process.exitcode == 9


def studies(url: str) -> list[str]:
    reader = LedgerReader(Bucket(url).copy.ledger_url)
    try:
        return list(reader.studies())
    finally:
        reader.close()


def test_the_last_commit_of_a_killed_sweep_is_not_overwritten_from_the_bucket(url: str) -> None:
    with synchronised(url, "old", warn=no_warning):
        Ledger(Bucket(url).copy.ledger_url).close()
    run_killed_writer(url, "first")
    Bucket(url).fetch("s")
    assert studies(url) == ["s"]
    with synchronised(url, "s", warn=no_warning):  # the lease of the dead process is void
        pass
    shutil.rmtree(folder_of(url))
    Bucket(url).fetch("s")
    assert studies(url) == ["s"]


def test_a_stale_write_ahead_log_is_not_applied_to_a_newer_ledger(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with synchronised(url, "old", warn=no_warning):
        Ledger(Bucket(url).copy.ledger_url).close()
    run_killed_writer(url, "first")
    ledger = Bucket(url).copy.ledger
    assert ledger.with_name("chorale.db-wal").is_file()

    switch_machine("two", tmp_path, monkeypatch)
    monkeypatch.setattr(BucketLease, "lives", lambda _: False)  # the first machine is dead
    with synchronised(url, "t", warn=no_warning):
        other = Ledger(Bucket(url).copy.ledger_url)
        other.create("t", {})
        other.release("t", "complete", spent_s=1.0)
        other.close()

    switch_machine("one", tmp_path, monkeypatch)
    Bucket(url).fetch("t")
    assert studies(url) == ["t"]


def test_an_unexpected_upload_error_is_a_warning_and_uploads_continue(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket, "UPLOAD_INTERVAL_S", 0.05)
    real, fails = Bucket._snapshot, [False]
    warnings: list[str] = []

    def snapshot(self: Bucket) -> Path | None:
        if fails[0]:
            raise sqlite3.DatabaseError("database disk image is malformed")
        return real(self)

    monkeypatch.setattr(Bucket, "_snapshot", snapshot)
    there = Path(url.removeprefix("file://")) / "s" / "a"
    with synchronised(url, "s", warn=warnings.append):
        fails[0] = True
        deadline = time.monotonic() + 20
        while len(warnings) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        fails[0] = False
        study = Bucket(url).copy.study("s").root
        study.mkdir(parents=True)
        (study / "a").write_text("1")
        while not there.is_file():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert "DatabaseError: database disk image is malformed); it is tried again" in warnings[0]
