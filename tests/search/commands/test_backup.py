"""`chorale backup` and `chorale disk`: what is in an archive, and what takes how much space."""

import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from chorale.search.api import backup
from chorale.search.cli import main
from chorale.search.ledger.ledger import Ledger
from chorale.search.ledger.reader import LedgerReader, Row
from chorale.search.paths import Runs


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """A running study with 300 kB of weights, a champion, and caches."""
    at = Runs(tmp_path / "runs")
    ledger = Ledger(at.ledger_url)
    ledger.create("a", {}, about={"dataset": "gtzan"})
    ledger.record("a", "search", Row("0", "COMPLETE", facts={"metrics": {"accuracy": 0.5}}))
    for path, n_bytes in (
        (at.study("a").root / "trials" / "weights", 300_000),
        (at.champion("x").root / "bundles" / "card", 1_000_000),
        (at.cache / "features", 2_000_000),
        (at.root / "synthetic" / "tone.wav", 1),
        (at.writer, 1),
        (at.study("a").root / ".tracking.lock", 1),
        (at.root / ".tune-1" / "scratch", 1),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"0" * n_bytes)
    return at  # not closed: what was committed may be in the log alone


@pytest.mark.parametrize("name", ["all.tar", "all.tar.gz"])
def test_an_archive_of_a_running_study_can_be_used_in_another_folder(
    runs: Runs, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / name
    assert main(["backup", str(file), "--runs", str(runs.root)]) == 0
    shown = capsys.readouterr().out
    assert f"3 files, 0.00 GB: {file}" in shown
    assert f"Restore with: tar -xf {file} -C FOLDER, then --runs FOLDER/runs" in shown
    with tarfile.open(file) as archive:
        assert sorted(archive.getnames()) == [
            "runs/a/trials/weights",
            "runs/champions/x/bundles/card",
            "runs/chorale.db",
        ]
    (tmp_path / "elsewhere").mkdir()
    subprocess.run(["tar", "-xf", file, "-C", tmp_path / "elsewhere"], check=True)
    restored = Runs(tmp_path / "elsewhere" / "runs")
    with LedgerReader(restored.ledger_url) as reader:
        assert reader.rows("a", "search").keys() == {"0"}
    assert (restored.study("a").root / "trials" / "weights").stat().st_size == 300_000
    assert {path.name for path in tmp_path.iterdir()} == {name, "elsewhere", "runs"}


def test_a_file_that_is_removed_meanwhile_is_named(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = runs.study("a").root / "trials" / "state"
    real = backup._files

    def files(root: Path, *, own: set[Path]) -> list[Path]:
        return [*real(root, own=own), gone]

    monkeypatch.setattr(backup, "_files", files)
    assert main(["backup", str(tmp_path / "all.tar"), "--runs", str(runs.root)]) == 0
    assert f"Removed meanwhile: 1 ({gone})" in capsys.readouterr().out


def test_an_archive_within_the_folder_does_not_contain_itself(runs: Runs) -> None:
    file = runs.root / "all.tar"
    for _ in range(2):  # the second replaces the first
        assert main(["backup", str(file), "--runs", str(runs.root)]) == 0
        with tarfile.open(file) as archive:
            assert "runs/all.tar" not in archive.getnames()


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        ([], 2, "type: chorale backup FILE"),
        (["all.zip"], 2, "FILE should end in .tar, .tar.gz, .tgz, but got all.zip"),
        (["all.tar", "--runs", "nowhere"], 1, "there is no ledger 'nowhere/chorale.db'"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(
    words: list[str], code: int, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["backup", *words]) == code
    found = capsys.readouterr().err
    assert error in found
    assert len(found.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_the_disk_is_divided_among_studies_caches_and_champions(
    runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["disk", "--json", "--runs", str(runs.root)]) == 0
    found = json.loads(capsys.readouterr().out)
    sizes = {one["what"]: one["n_bytes"] for one in found["parts"]}
    assert sizes["study a"] == 300_001
    assert sizes["champions/"] == 1_000_000
    assert sizes["cached features and audits"] == 2_000_000
    assert found["parts"][0]["what"] == "cached features and audits", "the largest first"
    every = sum(path.stat().st_size for path in runs.root.rglob("*") if path.is_file())
    assert found["n_bytes"] == every - 1, "all but the file of the bucket"
    assert main(["disk", "--runs", str(runs.root)]) == 0
    shown = capsys.readouterr().out
    assert "chorale study delete a" in shown
    assert main(["disk", "a", "--runs", str(runs.root)]) == 2
    assert "expected no name, but got a" in capsys.readouterr().err
