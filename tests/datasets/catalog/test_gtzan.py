import logging
from pathlib import Path

import pytest

from chorale.datasets.catalog import gtzan
from chorale.datasets.errors import UserError
from chorale.datasets.splitting.split import make_split
from chorale.datasets.splitting.split_config import SplitConfig
from chorale.datasets.tables.gtzan_tracks import GTZAN_GENRES, known_tracks

EVERY = [f"{genre}.{number:05d}" for genre in GTZAN_GENRES for number in range(100)]


def clips(folder: Path, tracks: list[str], *, ending: str = "wav") -> Path:
    for name in tracks:
        path = folder / name.split(".")[0] / f"{name}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"RIFF")
    return folder


def test_the_artist_table_is_the_published_one() -> None:
    known = known_tracks()
    assert list(known) == EVERY
    assert len({track.group for track in known.values()}) == 323
    assert known["metal.00058"].group == known["rock.00016"].group
    assert known["metal.00058"].split is known["reggae.00086"].split is None


@pytest.mark.parametrize(
    ("ending", "folder", "n_train"), [("wav", "genres_original", 442), ("au", "genres", 443)]
)
def test_the_fault_filtered_split_has_the_published_sizes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, ending: str, folder: str, n_train: int
) -> None:
    clips(tmp_path / folder, EVERY, ending=ending)
    caplog.set_level(logging.INFO)
    table = gtzan.tracks(gtzan.Config(str(tmp_path)))
    assert table["split"].value_counts().to_dict() == {"train": n_train, "test": 290, "valid": 197}
    assert set(table["label"]) == set(GTZAN_GENRES)
    assert table["fold"].isna().all()
    assert "left out 70 tracks that are faulty" in caplog.text
    assert ("jazz.00054.wav" in caplog.text) == (ending == "wav")
    assert "only" not in caplog.text


def test_no_artist_is_in_two_parts_of_the_split(tmp_path: Path) -> None:
    table = gtzan.tracks(gtzan.Config(str(clips(tmp_path, EVERY))))
    assert table.groupby("group")["split"].nunique().max() == 1
    split = make_split(table, SplitConfig(), n_folds=3)
    assert len(split.test_ids) == 290


def test_all_tracks_have_no_official_split(tmp_path: Path) -> None:
    config = gtzan.Config(str(clips(tmp_path / "Data" / "genres_original", EVERY)), protocol="all")
    table = gtzan.tracks(gtzan.Config(str(tmp_path), protocol="all"))
    assert len(table) == 999
    assert table["split"].isna().all()
    assert table.equals(gtzan.tracks(config))


def test_a_row_is_a_clip_with_its_genre_and_artist(tmp_path: Path) -> None:
    clips(tmp_path / "genres_original", ["blues.00000", "rock.00016"])
    table = gtzan.tracks(gtzan.Config(str(tmp_path)))
    assert table["track_id"].tolist() == ["blues.00000", "rock.00016"]
    assert table["label"].tolist() == ["blues", "rock"]
    assert table["group"].tolist() == ["artist-001", "artist-233"]
    assert table["split"].tolist() == ["valid", "train"]
    assert all(Path(path).is_file() for path in table["path"])


def test_an_incomplete_copy_is_used_and_missing_clips_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clips(tmp_path, ["blues.00000", "rock.00016"])
    gtzan.tracks(gtzan.Config(str(tmp_path)))
    assert "only 2 of 929 tracks exist; missing: blues.00001" in caplog.text


def test_hidden_and_unrelated_files_are_ignored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clips(tmp_path, ["blues.00000", "rock.00016", "blues.00100", "blues.1"])
    (tmp_path / "blues" / "._blues.00000.wav").write_bytes(b"\x00\x05\x16\x07")
    (tmp_path / "blues" / "rock.00001.wav").write_bytes(b"RIFF")
    (tmp_path / "blues" / ".DS_Store").write_bytes(b"")
    table = gtzan.tracks(gtzan.Config(str(tmp_path)))
    assert table["track_id"].tolist() == ["blues.00000", "rock.00016"]
    assert "ignored 3 that are not GTZAN tracks: blues/blues.00100.wav" in caplog.text


def test_the_original_edition_of_a_clip_in_two_formats_is_used(tmp_path: Path) -> None:
    clips(tmp_path, ["jazz.00054", "jazz.00055"])
    clips(tmp_path, ["jazz.00054"], ending="au")
    table = gtzan.tracks(gtzan.Config(str(tmp_path)))
    assert [Path(path).name for path in table["path"]] == ["jazz.00054.au", "jazz.00055.wav"]


@pytest.mark.parametrize("tracks", [[], ["jazz.00054"]])
def test_no_clip_at_all_raises_with_the_expected_layout(tmp_path: Path, tracks: list[str]) -> None:
    clips(tmp_path, tracks)
    with pytest.raises(UserError, match=r"genres_original/blues/blues\.00000\.wav or genres/"):
        gtzan.tracks(gtzan.Config(str(tmp_path)))


def test_only_faulty_clips_raise_and_suggest_the_other_protocol(tmp_path: Path) -> None:
    clips(tmp_path, ["metal.00058", "reggae.00086"])
    with pytest.raises(UserError, match=r"--dataset\.protocol all"):
        gtzan.tracks(gtzan.Config(str(tmp_path)))
    assert len(gtzan.tracks(gtzan.Config(str(tmp_path), protocol="all"))) == 2
