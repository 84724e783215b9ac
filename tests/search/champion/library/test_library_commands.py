"""`chorale library` and `chorale recommend` on the command line."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from chorale.search.bundle.bundle import Bundle
from chorale.search.champion.registry.registry import Registry
from chorale.search.cli import main
from chorale.search.paths import Runs

Tone = Callable[..., Path]
Bundles = tuple[Path, Path]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def library(music: Path, bundles: Bundles, tmp_path: Path, capsys: Capture) -> Path:
    to = tmp_path / "l"
    words = ["library", "add", str(music), "--bundle", str(bundles[0]), "--to", str(to)]
    assert main(words) == 0
    capsys.readouterr()
    return to


def recommended(library: Path, capsys: Capture, *words: str) -> tuple[list[str], str]:
    """The paths of a playlist, and the text on standard error."""
    assert main(["recommend", "--library", str(library), "--json", *words]) == 0
    out, err = capsys.readouterr()
    return [track["path"] for track in json.loads(out)["tracks"]], err


def test_a_library_is_filled_listed_and_recommends(
    music: Path, library: Path, tmp_path: Path, capsys: Capture
) -> None:
    liked = music / "artist0" / "03.wav"
    words = ["recommend", "--like", str(liked), "--library", str(library), "--length", "5"]
    to = tmp_path / "p.m3u8"
    assert main([*words, "--m3u8", str(to), "--relative"]) == 0
    out = capsys.readouterr().out
    assert "genres wanted -> here" in out
    assert "similarity" in out
    lines = [line for line in to.read_text().splitlines() if not line.startswith("#")]
    assert len(lines) == 5
    assert all((tmp_path / line).is_file() for line in lines)
    assert "music/artist0/03.wav" not in lines
    assert main(["library", "list", "--library", str(library), "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["path"] for row in rows] == sorted(map(str, music.rglob("*.wav")))
    assert main(["library", "list", "--library", str(library)]) == 0
    assert "12 tracks of 3 known artists" in capsys.readouterr().out


def test_a_file_that_is_not_in_the_library_is_embedded(
    library: Path, tmp_path: Path, tone: Tone, capsys: Capture
) -> None:
    other = tone(tmp_path / "other.wav", hz=471)
    paths, err = recommended(library, capsys, "--like", str(other), "--length", "3")
    assert len(paths) == 3
    assert err.count("\n") <= 1


def test_a_history_is_matched_by_path_content_and_name_and_the_rest_is_reported(
    music: Path, library: Path, tmp_path: Path, tone: Tone, capsys: Capture
) -> None:
    tone(tmp_path / "other.wav", hz=471)
    shutil.copy(music / "artist1" / "04.wav", tmp_path / "copy.wav")
    (tmp_path / "h.csv").write_text(
        f"path,title,artist,plays\n{music}/artist0/00.wav,,,4\nother.wav,,,1\ngone.wav,,,1\n"
        ",05,ARTIST2,1\n,05,nobody,1\ncopy.wav,,,2\n"
    )
    history = str(tmp_path / "h.csv")
    paths, err = recommended(library, capsys, "--history", history, "--length", "20")
    assert not {f"{music}/artist0/00.wav", f"{music}/artist2/05.wav"} & set(paths)
    assert f"{music}/artist1/04.wav" not in paths  # the copy is the same content
    assert len(paths) == 9
    assert "line 3: 'other.wav' is not in the library; its file is embedded" in err
    assert "line 4: gone.wav: missing" in err
    assert "line 6: nobody - 05: missing" in err
    assert "20 tracks were requested, the library has 9 candidates" in err


def test_a_champion_s_bundle_is_used_where_it_is_named_and_a_library_keeps_its_bundle(
    music: Path, bundles: Bundles, tmp_path: Path, capsys: Capture
) -> None:
    runs = Runs(tmp_path / "runs")
    words = ["library", "add", str(music), "--runs", str(runs.root)]
    assert main(words) == 1
    assert "expected --bundle or a single champion" in capsys.readouterr().err
    first, second = (Bundle.open(one) for one in bundles)
    registry = Registry(runs.champion("best"))
    registry.promote(first, expected=None, reason="it is the first")
    assert main([*words, "--bundle", "best"]) == 0
    capsys.readouterr()
    registry.promote(second, expected=first.digest, reason="it is better")
    assert main(words) == 0  # a library stays with the bundle that it was made with
    capsys.readouterr()
    assert main([*words, "--bundle", "best"]) == 1
    err = capsys.readouterr().err
    assert "was made with bundle" in err
    assert f"--bundle best --to {runs.library.root}-2" in err
    assert len(err.splitlines()) == 1


def test_recommending_with_another_bundle_is_refused(
    library: Path, bundles: Bundles, tmp_path: Path, tone: Tone, capsys: Capture
) -> None:
    other = str(tone(tmp_path / "other.wav", hz=471))
    words = ["recommend", "--like", other, "--library", str(library)]
    assert main([*words, "--bundle", str(bundles[1])]) == 1
    err = capsys.readouterr().err
    assert "was made with bundle" in err
    assert len(err.splitlines()) == 1


def test_a_missing_bundle_must_be_named(
    music: Path, bundles: Bundles, tmp_path: Path, tone: Tone, capsys: Capture
) -> None:
    moved = tmp_path / "b"
    shutil.copytree(bundles[0], moved)
    to = str(tmp_path / "l")
    assert main(["library", "add", str(music), "--bundle", str(moved), "--to", to]) == 0
    shutil.rmtree(moved)
    other = str(tone(tmp_path / "other.wav", hz=471))
    words = ["recommend", "--like", other, "--library", to]
    assert main(words) == 1
    assert "if it was moved, add --bundle FOLDER" in capsys.readouterr().err
    assert main([*words, "--bundle", str(bundles[0])]) == 0
    inside = str(music / "artist0" / "00.wav")  # needs no embedding
    assert main(["recommend", "--like", inside, "--library", to]) == 0


@pytest.mark.parametrize(
    ("words", "error", "code"),
    [
        (["library", "add"], "FOLDER ... is missing; type: chorale library add FOLDER ...", 2),
        (["library", "add", "nowhere"], "'nowhere' does not exist", 1),
        (["library", "add", ".", "--artist", "("], "is no regular expression", 1),
        (["library", "add", ".", "--artist", "a"], "has no ( )", 1),
        (["library", "list", "--library", "nowhere"], "there is no library", 1),
        (["library", "list", "x"], "expected no name", 2),
        (["recommend"], "either --like FILE ... or --history CSV", 2),
        (["recommend", "--like"], "--like needs a value: --like FILE", 2),
        (["recommend", "x.wav"], "either --like FILE ... or --history CSV", 2),
        (["recommend", "--like", "x", "--history", "h"], "either --like FILE", 2),
        (
            ["recommend", "--like", "x", "--variety", "2"],
            "--variety should be a number from 0 to 1",
            2,
        ),
        (
            ["recommend", "--like", "x", "--variety", "nan"],
            "--variety should be a number from 0 to 1",
            2,
        ),
        (
            ["recommend", "--like", "x", "--length", "0"],
            "--length should be a whole number from 1 to 500",
            2,
        ),
        (["recommend", "--like", "x", "--seed", "-1"], "--seed should be a whole number from 0", 2),
        (["recommend", "--like", "x", "--relative"], "add --m3u8 FILE", 2),
        (["recommend", "--like", "x", "--m3u8", "."], "is a folder", 1),
        (["recommend", "--history", "none.csv"], "cannot be read", 1),
        (["recommend", "--like", "x", "--library", "nowhere"], "there is no library", 1),
    ],
)
def test_a_wrong_command_line_is_refused_in_one_line(
    words: list[str], error: str, code: int, capsys: Capture
) -> None:
    assert main(words) == code
    err = capsys.readouterr().err
    assert error in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "error"), [(b"", "empty (0 bytes)"), (b"text", "undecodable"), (None, "missing")]
)
def test_an_unusable_liked_file_is_refused_in_one_line(
    library: Path, tmp_path: Path, capsys: Capture, content: bytes | None, error: str
) -> None:
    path = tmp_path / "x.wav"
    if content is not None:
        path.write_bytes(content)
    assert main(["recommend", "--like", str(path), "--library", str(library)]) == 1
    err = capsys.readouterr().err
    assert error in err
    assert "name a recording" in err
    assert len(err.splitlines()) == 1


def test_unreadable_files_are_left_out_and_the_exit_code_is_1(
    music: Path, bundles: Bundles, tmp_path: Path, capsys: Capture
) -> None:
    (music / "zero.wav").write_bytes(b"")
    words = ["library", "add", str(music), "--bundle", str(bundles[0]), "--to", str(tmp_path / "l")]
    assert main(words) == 1
    out, err = capsys.readouterr()
    assert "zero.wav: empty (0 bytes); skipped" in err
    assert "12 new, 1 unreadable" in out


def test_a_bundle_of_a_later_version_is_refused(
    music: Path, bundles: Bundles, tmp_path: Path, capsys: Capture
) -> None:
    later = tmp_path / "b"
    shutil.copytree(bundles[0], later)
    manifest = json.loads((later / "bundle.json").read_text())
    (later / "bundle.json").write_text(json.dumps(manifest | {"version": 99}))
    assert main(["library", "add", str(music), "--bundle", str(later)]) == 1
    assert "version=99, but this Chorale reads 1" in capsys.readouterr().err


def test_a_library_that_was_listened_to_completely_is_refused(
    music: Path, library: Path, capsys: Capture
) -> None:
    files = map(str, music.rglob("*.wav"))
    assert main(["recommend", "--like", *files, "--library", str(library)]) == 1
    assert "all 12 tracks of the library" in capsys.readouterr().err
