import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from chorale.datasets.catalog import fsdd
from chorale.datasets.download import archive
from chorale.datasets.download.archive_members import ArchiveLimits
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
        patch.delattr(archive, "unpack_archive")
        assert fsdd.tracks(fsdd.Config(str(path))).equals(first)
    zipped(path, NAMES[:2])
    assert len(fsdd.tracks(fsdd.Config(str(path)))) == 2


def test_the_faster_of_two_processes_that_unpack_wins(
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
def test_a_zip_with_malicious_names_raises(tmp_path: Path, cache: Path, name: str) -> None:
    path = zipped(tmp_path / "evil.zip", [*NAMES, name])
    assert "leads out of the archive" in refusal(path)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("limits", [ArchiveLimits(entries=2), ArchiveLimits(n_bytes=1000)])
def test_a_zip_that_unpacks_too_large_raises(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, limits: ArchiveLimits
) -> None:
    monkeypatch.setattr(fsdd, "_ARCHIVE_LIMITS", limits)
    assert "allowed" in refusal(zipped(tmp_path / "x.zip", NAMES))
    assert list(cache.iterdir()) == []


def test_a_zip_without_recordings_raises(tmp_path: Path, cache: Path) -> None:
    assert "no file such as 0_theo_3.wav in" in refusal(zipped(tmp_path / "x.zip", ["a.wav"]))


def test_a_damaged_zip_leaves_no_files(tmp_path: Path, cache: Path) -> None:
    path = zipped(tmp_path / "fsdd.zip", NAMES)
    content = bytearray(path.read_bytes())
    # the compressed bytes of the last member, so that the first ones are written before it fails
    at = content.rindex(b"9_theo_0.wav", 0, content.index(b"PK\x01\x02")) + len("9_theo_0.wav")
    content[at] ^= 0xFF
    path.write_bytes(bytes(content))
    assert "is refused: it is no zip or tar, or a damaged one" in refusal(path)
    assert list(cache.iterdir()) == []


def test_an_unwritable_cache_folder_raises_a_user_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert "set XDG_CACHE_HOME" in refusal(zipped(tmp_path / "x.zip", NAMES))


def test_a_folder_without_recordings_raises_and_suggests_a_zip_in_it(tmp_path: Path) -> None:
    assert "no file such as 0_theo_3.wav" in refusal(tmp_path)
    path = zipped(tmp_path / "fsdd.zip", NAMES)
    assert f"--dataset.root {path}" in refusal(tmp_path)


def test_a_root_that_is_neither_folder_nor_zip_raises(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "text").write_text("hello")
    assert "is refused: it is no zip" in refusal(tmp_path / "text")
    assert "does not exist" in refusal(tmp_path / "missing")
