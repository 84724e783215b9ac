from pathlib import Path

import pytest

from chorale.datasets.catalog import openmic
from chorale.datasets.catalog.openmic import Config
from chorale.datasets.errors import UserError
from chorale.datasets.label_sets import UNKNOWN, class_names_of, labels_of, track_labels

ROWS = (
    "000046_3840,clarinet,0.17105,3",
    "000046_3840,flute,0.5,3",
    "000046_3840,voice,0.99,3",
    "000135_483840,piano,1.0,3",
    "000139_119040,mallet_percussion,0.15,3",
    "145056_3840,drums,0.8,3",
)
TRAIN = ("000046_3840", "000139_119040")
TEST = ("000135_483840", "145056_3840")


def tree(root: Path, *more: str, metadata: bool = True) -> Path:
    (root / "partitions").mkdir(parents=True)
    header = "sample_key,instrument,relevance,num_responses"
    path = root / "openmic-2018-aggregated-labels.csv"
    path.write_text("\n".join([header, *ROWS, *more, ""]))
    (root / "partitions" / "split01_train.csv").write_text("\n".join([*TRAIN, ""]))
    (root / "partitions" / "split01_test.csv").write_text("\n".join([*TEST, ""]))
    if metadata:
        lines = [",sample_key,start_time,track_id,artist_id", "0,000046_3840,3.84,46,12"]
        path = root / "openmic-2018-metadata.csv"
        path.write_text(
            "\n".join([*lines, "1,000135_483840,483.84,135,12", "2,145056_3840,1,2,", ""])
        )
    for key in (*TRAIN, *TEST):
        (root / "audio" / key[:3]).mkdir(parents=True, exist_ok=True)
        (root / "audio" / key[:3] / f"{key}.ogg").write_bytes(b"OggS")
    return root


def refusal(root: Path) -> str:
    with pytest.raises(UserError) as caught:
        openmic.tracks(Config(str(root)))
    return str(caught.value)


@pytest.mark.parametrize("below", ["", "openmic-2018"])
def test_a_row_has_its_instruments_artist_and_official_split(tmp_path: Path, below: str) -> None:
    tree(tmp_path / below if below else tmp_path / "root")
    table = openmic.tracks(Config(str(tmp_path if below else tmp_path / "root")))
    keys = ["000046_3840", "000135_483840", "000139_119040", "145056_3840"]
    assert table["track_id"].tolist() == keys
    assert table["label"].tolist() == ["flute;voice", "piano", "", "drums"]
    assert table["group"].tolist() == ["artist-12", "artist-12", "track-000139", "track-145056"]
    assert table["split"].tolist() == ["train", "test", "train", "test"]
    assert all(Path(path).is_file() for path in table["path"])


def test_what_was_not_rated_is_unknown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tree(tmp_path / "root")
    table = openmic.tracks(Config(str(root)))
    rated = {"000046_3840": {"clarinet", "flute", "voice"}, "000139_119040": {"mallet_percussion"}}
    for key, asked in rated.items():
        (text,) = table["unknown"][table["track_id"] == key]
        assert set(labels_of(text)) == set(openmic.INSTRUMENTS) - asked
    names = class_names_of(table["label"])
    labels = track_labels(table, names)
    assert (labels != UNKNOWN).sum() == 4  # the clarinet and the percussion have no track
    assert labels[0, names.index("drums")] == UNKNOWN
    with (root / "partitions" / "split01_train.csv").open("a") as file:
        file.write("999999_0\n")
    openmic.tracks(Config(str(root)))
    assert "left out 1 excerpts that were not rated" in caplog.text


def test_there_are_twenty_instruments() -> None:
    assert len(set(openmic.INFO.labels)) == 20


def test_another_split_by_artist_can_be_drawn(tmp_path: Path) -> None:
    table = openmic.tracks(Config(str(tree(tmp_path / "root")), official_split=False))
    assert table["split"].isna().all()
    assert len(table) == 4


def test_without_metadata_the_track_is_the_group_and_this_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = openmic.tracks(Config(str(tree(tmp_path / "root", metadata=False))))
    assert table["group"].tolist() == [
        "track-000046", "track-000135", "track-000139", "track-145056"
    ]  # fmt: skip
    assert "so that the track is the group, not the artist" in caplog.text


def test_missing_excerpts_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tree(tmp_path / "root")
    (root / "audio" / "145" / "145056_3840.ogg").unlink()
    assert len(openmic.tracks(Config(str(root)))) == 3
    assert "openmic: 1 of 4 recordings are not in" in caplog.text


@pytest.mark.parametrize(
    "row", [",piano,1.0,3", "1_1,kazoo,1.0,3", "1_1,piano,1.5,3", "1_1,piano,,3"]
)
def test_a_damaged_row_raises_a_user_error(tmp_path: Path, row: str) -> None:
    text = refusal(tree(tmp_path / "root", row))
    assert "has 1 rows without a key, with an unknown instrument, or a relevance" in text


def test_a_damaged_split_raises_a_user_error(tmp_path: Path) -> None:
    root = tree(tmp_path / "root")
    part = root / "partitions" / "split01_train.csv"
    part.write_text("000046_3840\n000135_483840\n")
    assert "1 excerpts are in both parts of the split" in refusal(root)
    part.unlink()
    assert "split01_train.csv' cannot be read" in refusal(root)
    assert "--dataset.official_split false" in refusal(root)


def test_a_missing_table_raises_a_user_error(tmp_path: Path) -> None:
    assert "openmic-2018-aggregated-labels.csv" in refusal(tmp_path)
