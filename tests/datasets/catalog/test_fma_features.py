import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from chorale.datasets.catalog import fma_features
from chorale.datasets.catalog.fma_features import Config
from chorale.datasets.errors import UserError
from chorale.datasets.tables.stats_names import STATS518

NUMBERS = (5, 2, 10, 20, 155320)
TRACKS = (
    "2,1,training,medium,Hip-Hop",
    "5,1,training,small,Hip-Hop",
    "10,6,validation,small,Pop",
    "20,4,test,large,",
    "155320,7,test,large,Rock",
)
VALUES = np.random.default_rng(0).standard_normal((len(NUMBERS), len(STATS518)))


def tables(
    root: Path, *, columns: Sequence[str] = STATS518, named: bool = True, end: str = "\n"
) -> Path:
    folder = root / "fma_metadata"
    folder.mkdir()
    header = [",artist,set,set,track", ",id,split,subset,genre_top", "track_id,,,,"]
    (folder / "tracks.csv").write_text("\n".join([*header, *TRACKS, ""]), encoding="utf-8")
    parts = [name.rsplit("_", 2) for name in columns]
    place = [STATS518.index(name) for name in columns]
    with (folder / "features.csv").open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened, lineterminator=end)
        for i, name in enumerate(("feature", "statistics", "number")):
            writer.writerow([name, *(part[i] for part in parts)])
        if named:
            writer.writerow(["track_id", *[""] * len(columns)])
        for number, values in zip(NUMBERS, VALUES, strict=True):
            writer.writerow([number, *(f"{values[i]:.10e}" for i in place)])
    return root


def edit(root: Path, old: str, new: str) -> Config:
    path = root / "fma_metadata" / "features.csv"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return Config(str(root), "full")


def refusal(config: Config) -> str:
    with pytest.raises(UserError) as caught:
        fma_features.features(config)
    return str(caught.value)


@pytest.mark.parametrize(
    ("subset", "numbers"),
    [
        ("small", [5, 10]),
        ("medium", [2, 5, 10]),
        ("large", [2, 5, 10, 155320]),
        ("full", [2, 5, 10, 155320]),
    ],
)
def test_the_features_are_those_of_the_labelled_tracks(
    tmp_path: Path, subset: Literal["small", "medium", "large", "full"], numbers: list[int]
) -> None:
    config = Config(str(tables(tmp_path)), subset)
    tracks = fma_features.tracks(config)
    frame = fma_features.features(config)["stats518"]
    assert tracks["track_id"].tolist() == [f"{number:06d}" for number in numbers]
    assert frame.index.tolist() == tracks["track_id"].tolist()
    assert frame.index.name == "track_id"
    assert tuple(frame.columns) == STATS518
    expected = VALUES[[NUMBERS.index(number) for number in numbers]]
    np.testing.assert_allclose(frame.to_numpy(), expected, rtol=1e-9)


def test_tracks_have_artist_and_official_split_but_no_path(tmp_path: Path) -> None:
    tracks = fma_features.tracks(Config(str(tables(tmp_path)), "full"))
    assert tracks["group"].tolist() == ["artist-1", "artist-1", "artist-6", "artist-7"]
    assert tracks["split"].tolist() == ["train", "train", "valid", "test"]
    assert tracks["path"].isna().all()


@pytest.mark.parametrize("columns", [STATS518[::-1], (*STATS518[100:], *STATS518[:100])])
def test_any_order_of_columns_gives_the_canonical_one(
    tmp_path: Path, columns: Sequence[str]
) -> None:
    config = Config(str(tables(tmp_path, columns=columns, named=False, end="\r\n")))
    frame = fma_features.features(config)["stats518"]
    assert tuple(frame.columns) == STATS518
    np.testing.assert_allclose(frame.to_numpy(), VALUES[[1, 0, 2]], rtol=1e-9)


def test_the_chunk_size_does_not_change_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(str(tables(tmp_path)), "full")
    frame = fma_features.features(config)["stats518"]
    monkeypatch.setattr(fma_features, "CHUNK_LINES", 1)
    assert fma_features.features(config)["stats518"].equals(frame)


@pytest.mark.parametrize("cell", ["", "nan", "NaN"])
@pytest.mark.parametrize("column", [0, 200, 517])
def test_rows_that_lack_a_number_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, cell: str, column: int
) -> None:
    config = edit(tables(tmp_path), f",{VALUES[2, column]:.10e}", f",{cell}")
    tracks = fma_features.tracks(config)
    assert "000010" not in set(tracks["track_id"])
    assert "left out 1 of 4 tracks, whose row is missing or lacks numbers: 000010" in caplog.text
    caplog.clear()
    assert len(fma_features.features(config)["stats518"]) == 3
    assert not caplog.text


def test_a_truncated_copy_is_used_up_to_its_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tables(tmp_path) / "fma_metadata" / "features.csv"
    path.write_bytes(path.read_bytes()[:-2000])
    assert len(fma_features.tracks(Config(str(tmp_path), "full"))) == 3
    assert "155320" in caplog.text


def test_missing_columns_are_listed(tmp_path: Path) -> None:
    config = Config(str(tables(tmp_path, columns=STATS518[:-7])))
    assert "lacks 7 columns: 'zcr_kurtosis_01'" in refusal(config)


def test_an_infinite_number_raises_with_its_position(tmp_path: Path) -> None:
    config = edit(tables(tmp_path), f"{VALUES[1, 3]:.10e}", "inf")
    assert f"has inf for '{STATS518[3]}' of track 2" in refusal(config)


def test_text_in_a_number_raises_with_its_position(tmp_path: Path) -> None:
    config = edit(tables(tmp_path), f"{VALUES[1, 3]:.10e}", "oops")
    assert f"'{STATS518[3]}' has 'oops' at '2'" in refusal(config)


def test_a_duplicate_track_raises(tmp_path: Path) -> None:
    config = edit(tables(tmp_path), "\n155320,", "\n10,")
    assert "duplicate tracks: 10" in refusal(config)


def test_a_table_without_any_of_the_tracks_raises(tmp_path: Path) -> None:
    path = tables(tmp_path) / "fma_metadata" / "features.csv"
    path.write_text("".join(path.read_text("utf-8").splitlines(keepends=True)[:4]), "utf-8")
    assert "no complete row of any of the 3 requested tracks" in refusal(Config(str(tmp_path)))
