import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from chorale.datasets.catalog import fsdd
from chorale.datasets.download import archive
from chorale.datasets.download.archive_members import Limits
from chorale.datasets.errors import UserError

NAMES = ("0_theo_0.wav", "0_lucas_12.wav", "9_theo_0.wav")


def recordings(root: Path, names: Iterable[str] = NAMES) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / name).write_bytes(b"RIFF")
    return root


def zipped(path: Path, names: Iterable[str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name in names:
            made.writestr(name, b"RIFF" * 100)
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "chorale"


def refusal(root: Path) -> str:
    with pytest.raises(UserError) as caught:
        fsdd.tracks(fsdd.Config(str(root)))
    return str(caught.value)


@pytest.mark.parametrize("below", ["", "recordings", "fsdd"])
def test_the_speaker_is_the_group_and_the_digit_the_label(tmp_path: Path, below: str) -> None:
    recordings(tmp_path / below)
    table = fsdd.tracks(fsdd.Config(str(tmp_path)))
    assert table["track_id"].tolist() == ["0_lucas_12", "0_theo_0", "9_theo_0"]
    assert table["label"].tolist() == ["0", "0", "9"]
    assert table["group"].tolist() == ["lucas", "theo", "theo"]
    assert all(Path(path).is_file() for path in table["path"])
    assert table["split"].isna().all()


def test_other_wav_files_are_skipped_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recordings(tmp_path, [*NAMES, "noise.wav", "10_theo_1.wav", "._0_theo_1.wav"])
    assert len(fsdd.tracks(fsdd.Config(str(tmp_path)))) == 3
    assert "skipped 3 other wav files" in caplog.text


def test_a_zip_is_unpacked_once(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"free-spoken-digit-dataset-1.0/recordings/{name}" for name in NAMES]
    path = zipped(tmp_path / "fsdd.zip", [*names, "__MACOSX/._0_theo_0.wav", "README.md", "d/"])
    first = fsdd.tracks(fsdd.Config(str(path)))
    assert first["group"].tolist() == ["lucas", "theo", "theo"]
    (folder,) = cache.iterdir()
    assert all(Path(path).is_relative_to(folder) for path in first["path"])
    with monkeypatch.context() as patch:
        patch.delattr(archive, "unpack")
        assert fsdd.tracks(fsdd.Config(str(path))).equals(first)
    zipped(path, NAMES[:2])
    assert len(fsdd.tracks(fsdd.Config(str(path)))) == 2


def test_of_two_processes_that_unpack_at_once_the_faster_wins(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zipped(tmp_path / "fsdd.zip", NAMES)

    def meanwhile() -> None:
        with monkeypatch.context() as patch:
            patch.setattr("os.sync", lambda: None)
            fsdd.tracks(fsdd.Config(str(path)))

    with monkeypatch.context() as patch:
        patch.setattr("os.sync", meanwhile)
        assert len(fsdd.tracks(fsdd.Config(str(path)))) == 3
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize(
    "name",
    [
        "../0_theo_1.wav",
        "/tmp/0_theo_1.wav",
        "a/../../0_theo_1.wav",
        "..\\x.wav",
        "C:/0_theo_1.wav",
    ],
)
def test_a_zip_with_names_that_lead_elsewhere_is_refused(
    tmp_path: Path, cache: Path, name: str
) -> None:
    path = zipped(tmp_path / "evil.zip", [*NAMES, name])
    assert "leads out of it" in refusal(path)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("limits", [Limits(entries=2), Limits(n_bytes=1000)])
def test_a_zip_that_would_grow_too_large_is_refused(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, limits: Limits
) -> None:
    monkeypatch.setattr(fsdd, "LIMITS", limits)
    assert "allowed" in refusal(zipped(tmp_path / "x.zip", NAMES))
    assert list(cache.iterdir()) == []


def test_a_zip_without_recordings_is_refused(tmp_path: Path, cache: Path) -> None:
    assert "no file such as 0_theo_3.wav in" in refusal(zipped(tmp_path / "x.zip", ["a.wav"]))


def test_a_damaged_zip_leaves_nothing_behind(tmp_path: Path, cache: Path) -> None:
    path = zipped(tmp_path / "fsdd.zip", NAMES)
    content = bytearray(path.read_bytes())
    # the compressed bytes of the last member, so that the first ones are written before it fails
    at = content.rindex(b"9_theo_0.wav", 0, content.index(b"PK\x01\x02")) + len("9_theo_0.wav")
    content[at] ^= 0xFF
    path.write_bytes(bytes(content))
    assert "is refused: it is no zip or tar, or a damaged one" in refusal(path)
    assert list(cache.iterdir()) == []


def test_a_cache_folder_that_cannot_be_made_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert "set XDG_CACHE_HOME" in refusal(zipped(tmp_path / "x.zip", NAMES))


def test_a_folder_without_recordings_names_the_zip_that_lies_there(tmp_path: Path) -> None:
    assert "no file such as 0_theo_3.wav" in refusal(tmp_path)
    path = zipped(tmp_path / "fsdd.zip", NAMES)
    assert f"--dataset.root {path}" in refusal(tmp_path)


def test_what_is_neither_folder_nor_zip_is_refused(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "text").write_text("hello")
    assert "is refused: it is no zip" in refusal(tmp_path / "text")
    assert "does not exist" in refusal(tmp_path / "gone")
