"""Output files that the user named: whatever stands in their way is one line before the work."""

import errno
import os
from pathlib import Path

import pytest

from chorale.datasets.errors import UserError
from chorale.search.cli import main
from chorale.search.commands.output_file import require_writable


def test_a_file_that_can_be_written_is_given_with_its_folder(tmp_path: Path) -> None:
    file = tmp_path / "new" / "a.csv"
    assert require_writable(file, option="--csv") == file
    assert list(file.parent.iterdir()) == []
    file.write_text("before")
    assert require_writable(file, option="--csv") == file
    assert file.read_text() == "before"
    assert require_writable(Path("~/x"), option="--to", is_folder=True) == Path.home() / "x"


@pytest.mark.parametrize(
    ("name", "is_folder", "message"),
    [
        (".", False, "it is a folder; give another place with --to FILE"),
        ("file/below", True, "file' is no folder; give another place with --to FOLDER"),
        ("x" * 250 + ".html", False, "File name too long"),
    ],
)
def test_what_cannot_be_written_is_one_line(
    tmp_path: Path, name: str, is_folder: bool, message: str
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=message) as caught:
        require_writable(tmp_path / name, option="--to", is_folder=is_folder)
    assert len(str(caught.value).splitlines()) == 1


def test_a_full_disk_is_left_to_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tempfile.NamedTemporaryFile", full)
    with pytest.raises(OSError, match="No space left"):
        require_writable(tmp_path / "a", option="--csv")


@pytest.mark.parametrize(
    "words",
    [
        ["compare", "a", "b", "--html"],
        ["leaderboard", "a", "--csv"],
        ["data", "check", "synthetic", "--csv"],
        ["export", "a", "--onnx"],
        ["library", "list", "--m3u8"],
    ],
)
def test_commands_refuse_a_folder_in_place_of_a_file(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [] if words[0] == "data" else ["--runs", str(tmp_path)]
    assert main([*words, str(tmp_path), *runs]) == 1
    error = capsys.readouterr().err
    assert f"cannot write '{tmp_path}': it is a folder; give another place with" in error
    assert len(error.splitlines()) == 1
