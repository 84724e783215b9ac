import csv
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import pytest

from chorale.datasets.catalog import fma
from chorale.datasets.catalog.fma import Config
from chorale.datasets.errors import UserError

COLUMNS = (
    ("album", "title"),
    ("artist", "bio"),
    ("artist", "id"),
    ("set", "split"),
    ("set", "subset"),
    ("track", "genre_top"),
)
TRACKS = (
    # number, artist, split, subset, genre
    (2, 1, "training", "medium", "Hip-Hop"),
    (5, 1, "training", "small", "Hip-Hop"),
    (10, 6, "validation", "small", "Pop"),
    (140, 54, "test", "small", "Folk"),
    (20, 4, "training", "large", ""),
    (99134, 9, "training", "small", "Rock"),
    (98565, 9, "training", "medium", "Rock"),
    (155320, 7, "training", "large", "Rock"),
)
Row = tuple[object, ...]


def metadata(root: Path, tracks: Iterable[Row] = TRACKS, *, named: bool = True) -> Path:
    path = root / "fma_metadata" / "tracks.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["", *(upper for upper, _ in COLUMNS)])
        writer.writerow(["", *(lower for _, lower in COLUMNS)])
        if named:
            writer.writerow(["track_id", *[""] * len(COLUMNS)])
        for number, artist, split, subset, genre in tracks:
            bio = 'A "text",\nwith lines'
            writer.writerow([number, "An album", bio, artist, split, subset, genre])
    return root


def clips(root: Path, subset: str, numbers: Iterable[int]) -> Path:
    for number in numbers:
        path = root / f"fma_{subset}" / f"{number:06d}"[:3] / f"{number:06d}.mp3"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"ID3")
    return root


def complete_copy(root: Path) -> Path:
    return clips(metadata(root), "large", [int(str(track[0])) for track in TRACKS])


def refusal(config: Config) -> str:
    with pytest.raises(UserError) as caught:
        fma.tracks(config)
    return str(caught.value)


@pytest.mark.parametrize(
    ("subset", "ids"),
    [
        ("small", ["000005", "000010", "000140"]),
        ("medium", ["000002", "000005", "000010", "000140"]),
        ("large", ["000002", "000005", "000010", "000140", "155320"]),
    ],
)
def test_a_subset_includes_the_smaller_ones(
    tmp_path: Path, subset: Literal["small", "medium", "large"], ids: list[str]
) -> None:
    table = fma.tracks(Config(str(complete_copy(tmp_path)), subset))
    assert table["track_id"].tolist() == ids


@pytest.mark.parametrize("named", [True, False])
def test_a_row_has_genre_artist_and_official_split(tmp_path: Path, named: bool) -> None:
    clips(metadata(tmp_path, named=named), "medium", [2, 5, 10, 140])
    table = fma.tracks(Config(str(tmp_path), "medium"))
    assert table["label"].tolist() == ["Hip-Hop", "Hip-Hop", "Pop", "Folk"]
    assert table["group"].tolist() == ["artist-1", "artist-1", "artist-6", "artist-54"]
    assert table["split"].tolist() == ["train", "train", "valid", "test"]
    assert all(Path(path).is_file() for path in table["path"])


def test_clips_that_are_left_out_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    root = clips(metadata(tmp_path), "large", [2, 5, 99134, 98565])
    (root / "fma_large" / "000" / "._000010.mp3").write_bytes(b"")
    assert fma.tracks(Config(str(root), "large"))["track_id"].tolist() == ["000002", "000005"]
    assert "left out 1 of 8 tracks: no top genre" in caplog.text
    assert "left out 2 clips known to be empty or cut short" in caplog.text
    assert "3 of 5 clips are not in" in caplog.text
    assert "000/000010.mp3, 000/000140.mp3, 155/155320.mp3" in caplog.text


def test_the_known_bad_clips_are_those_published_by_the_authors() -> None:
    assert (len(fma.EMPTY_CLIPS), len(fma.SHORT_CLIPS)) == (15, 6)


def test_a_track_without_an_artist_is_its_own_group(tmp_path: Path) -> None:
    tracks = [(2, "", "training", "small", "Pop"), (3, "", "training", "small", "Rock")]
    clips(metadata(tmp_path, tracks), "small", [2, 3])
    assert fma.tracks(Config(str(tmp_path)))["group"].tolist() == ["track-2", "track-3"]


def test_all_clips_missing_raises_a_user_error(tmp_path: Path) -> None:
    clips(metadata(tmp_path), "small", [7])
    text = refusal(Config(str(tmp_path)))
    assert "none of the 3 clips that its table lists" in text
    assert "fma_small" in text
    assert "000/000005.mp3" in text


def test_a_missing_audio_folder_raises_with_its_name(tmp_path: Path) -> None:
    text = refusal(Config(str(metadata(tmp_path)), "medium"))
    assert "no fma_medium or fma_large in" in text


def test_a_smaller_subset_is_not_used_for_a_larger_one(tmp_path: Path) -> None:
    clips(metadata(tmp_path), "small", [5, 10, 140])
    assert "no fma_medium" in refusal(Config(str(tmp_path), "medium"))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ((3, 1, "traning", "small", "Pop"), "the column 'split' of tracks.csv has 'traning'"),
        ((3, 1, "training", "tiny", "Pop"), "the column 'subset' of tracks.csv has 'tiny'"),
        (("x", 1, "training", "small", "Pop"), "whose track number is invalid"),
        ((5, 1, "training", "small", "Pop"), "duplicated: '5'"),
    ],
)
def test_damaged_metadata_raises_a_user_error(tmp_path: Path, row: Row, words: str) -> None:
    assert words in refusal(Config(str(metadata(tmp_path, [*TRACKS, row]))))


def test_metadata_without_a_column_raises_a_user_error(tmp_path: Path) -> None:
    path = metadata(tmp_path) / "fma_metadata" / "tracks.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("genre_top", "genres"), "utf-8")
    assert "lacks the column 'track.genre_top' (nearest: 'track.genres')" in refusal(
        Config(str(tmp_path))
    )


def test_missing_metadata_raises_a_user_error(tmp_path: Path) -> None:
    clips(tmp_path, "small", [2])
    assert "fma_metadata/tracks.csv" in refusal(Config(str(tmp_path)))
