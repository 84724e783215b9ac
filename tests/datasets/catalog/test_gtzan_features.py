import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from chorale.datasets.catalog import gtzan_features
from chorale.datasets.catalog.gtzan_features import Config
from chorale.datasets.errors import UserError
from chorale.datasets.tables.stats_names import STATS57

HEADER = ["filename", "length", *STATS57, "label"]
CLIPS = ("rock.00016.wav", "blues.00000.au", "jazz.00054.wav", "metal.00058.wav")
SEGMENTS = [f"{clip}.{n}.wav" for clip in ("rock.00016", "blues.00000") for n in range(10)]


def row(filename: str, number: float) -> dict[str, object]:
    values: dict[str, object] = {name: number + i / 100 for i, name in enumerate(STATS57)}
    label = filename.replace("\\", "/").split("/")[-1].split(".")[0]
    return {"filename": filename, "length": 661794, "label": label, **values}


def table(
    folder: Path, rows: Iterable[dict[str, object]], header: list[str] = HEADER, *, of: str = "30"
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"features_{of}_sec.csv").open("w", encoding="utf-8", newline="") as opened:
        writer = csv.DictWriter(opened, header, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return folder


def clips(folder: Path) -> Path:
    return table(folder, [row(name, number) for number, name in enumerate(CLIPS)])


def refusal(config: Config) -> str:
    with pytest.raises(UserError) as caught:
        gtzan_features.tracks(config)
    return str(caught.value)


def test_the_features_are_the_57_in_the_published_order(tmp_path: Path) -> None:
    config = Config(str(clips(tmp_path)))
    tracks = gtzan_features.tracks(config)
    frame = gtzan_features.features(config)["stats57"]
    assert tracks["track_id"].tolist() == ["blues.00000", "jazz.00054", "rock.00016"]
    assert tracks["path"].isna().all()
    assert tracks["split"].tolist() == ["valid", "train", "train"]
    assert frame.index.tolist() == tracks["track_id"].tolist()
    assert tuple(frame.columns) == STATS57
    assert frame["chroma_stft_mean"].tolist() == [1.0, 2.0, 0.0]
    assert frame["mfcc20_var"].tolist() == pytest.approx([1.56, 2.56, 0.56])


def test_length_is_never_a_feature(tmp_path: Path) -> None:
    assert "length" not in gtzan_features.features(Config(str(clips(tmp_path))))["stats57"]


@pytest.mark.parametrize("header", [HEADER[::-1], [*STATS57, "filename"], ["x", *HEADER]])
def test_any_order_of_columns_gives_the_same(tmp_path: Path, header: list[str]) -> None:
    config = Config(str(clips(tmp_path / "a")))
    rows = [row(name, number) for number, name in enumerate(CLIPS)]
    other = Config(str(table(tmp_path / "b", rows, header)))
    assert gtzan_features.tracks(other).equals(gtzan_features.tracks(config))
    mine, theirs = (gtzan_features.features(made)["stats57"] for made in (config, other))
    assert mine.equals(theirs)


def test_the_3s_table_has_ten_segments_per_track_in_order(tmp_path: Path) -> None:
    shuffled = np.random.default_rng(0).permutation(len(SEGMENTS))
    table(tmp_path / "Data", [row(SEGMENTS[i], float(i)) for i in shuffled], of="3")
    config = Config(str(tmp_path), table="3s")
    assert gtzan_features.tracks(config)["track_id"].tolist() == ["blues.00000", "rock.00016"]
    frame = gtzan_features.features(config)["stats57"]
    assert frame.index.tolist() == ["blues.00000"] * 10 + ["rock.00016"] * 10
    assert frame["chroma_stft_mean"].tolist() == [*range(10, 20), *range(10)]


@pytest.mark.parametrize(("which", "n_expected"), [("30s", 930), ("3s", 929)])
def test_known_missing_tracks_are_not_logged_as_missing(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    which: Literal["30s", "3s"],
    n_expected: int,
) -> None:
    name = "blues.00000.wav" if which == "30s" else "blues.00000.0.wav"
    table(tmp_path, [row(name, 1.0)], of=which[:-1])
    gtzan_features.tracks(Config(str(tmp_path), table=which))
    assert f"only 1 of {n_expected} tracks exist" in caplog.text


def test_the_protocol_all_includes_faulty_tracks(tmp_path: Path) -> None:
    config = Config(str(clips(tmp_path)), protocol="all")
    tracks = gtzan_features.tracks(config)
    assert "metal.00058" in set(tracks["track_id"])
    assert tracks["split"].isna().all()
    assert len(gtzan_features.features(config)["stats57"]) == 4


def test_file_names_with_folders_are_parsed(tmp_path: Path) -> None:
    names = ("genres_original\\blues\\blues.00000.wav", "genres/rock/rock.00016.wav")
    table(tmp_path, [row(name, 1.0) for name in names])
    tracks = gtzan_features.tracks(Config(str(tmp_path)))
    assert tracks["track_id"].tolist() == ["blues.00000", "rock.00016"]


def test_missing_columns_are_listed_with_the_nearest_names(tmp_path: Path) -> None:
    header = [name.replace("rms_", "rmse_") for name in HEADER if name != "tempo"]
    clips(tmp_path)
    table(tmp_path, [], header)
    text = refusal(Config(str(tmp_path)))
    assert "lacks 3 columns: 'rms_mean' (nearest: 'rmse_mean'), 'rms_var' " in text
    assert "'tempo'" in text


@pytest.mark.parametrize("cell", ["", "nan", "inf"])
def test_rows_that_lack_a_number_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, cell: str
) -> None:
    rows = [row(name, 1.0) for name in CLIPS]
    rows[0]["tempo"] = cell
    config = Config(str(table(tmp_path, rows)))
    tracks = gtzan_features.tracks(config)
    assert tracks["track_id"].tolist() == ["blues.00000", "jazz.00054"]
    assert "left out 1 of 4 rows, which have a missing or infinite number: rock.00016.wav" in (
        caplog.text
    )
    caplog.clear()
    assert np.isfinite(gtzan_features.features(config)["stats57"].to_numpy()).all()
    assert not caplog.text


def test_text_in_a_number_raises_with_its_file_name(tmp_path: Path) -> None:
    rows = [row(name, 1.0) for name in CLIPS]
    rows[1]["tempo"] = "fast"
    assert "'tempo' has 'fast' at 'blues.00000.au'" in refusal(Config(str(table(tmp_path, rows))))


def test_rows_of_other_tracks_are_ignored_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [row(name, 1.0) for name in (*CLIPS, "bluse.00100.wav", "blues.00100.wav")]
    tracks = gtzan_features.tracks(Config(str(table(tmp_path, rows))))
    assert len(tracks) == 3
    assert "ignored 2 that are not GTZAN tracks: bluse.00100.wav, blues.00100.wav" in caplog.text


@pytest.mark.parametrize(("asked", "other"), [("30s", "3s"), ("3s", "30s")])
def test_the_wrong_table_raises_and_suggests_the_other(
    tmp_path: Path, asked: Literal["30s", "3s"], other: str
) -> None:
    names = SEGMENTS if asked == "30s" else CLIPS
    path = table(tmp_path, [row(name, 1.0) for name in names]) / "features_30_sec.csv"
    assert f"type --dataset.table {other}" in refusal(Config(str(path), table=asked))


def test_a_duplicate_row_raises(tmp_path: Path) -> None:
    table(tmp_path, [row(name, 1.0) for name in (*CLIPS, "blues.00000.wav")])
    assert "1 duplicate rows: blues.00000.wav" in refusal(Config(str(tmp_path)))


def test_labels_that_differ_from_the_genre_raise(tmp_path: Path) -> None:
    rows = [row(name, 1.0) | {"label": "punk"} for name in CLIPS]
    assert "--dataset.name table" in refusal(Config(str(table(tmp_path, rows))))


@pytest.mark.parametrize("names", [[], ["a.wav", "b.wav"]])
def test_an_unrelated_table_raises(tmp_path: Path, names: list[str]) -> None:
    table(tmp_path, [row(name, 1.0) for name in names])
    assert "such as blues.00000.wav" in refusal(Config(str(tmp_path)))


def test_a_missing_table_raises_with_its_name(tmp_path: Path) -> None:
    assert "no features_3_sec.csv" in refusal(Config(str(tmp_path), table="3s"))
