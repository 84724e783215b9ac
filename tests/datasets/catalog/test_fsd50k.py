import json
from pathlib import Path

import pytest

from chorale.datasets.catalog import fsd50k
from chorale.datasets.catalog.fsd50k import Config
from chorale.datasets.errors import UserError

DEV = (
    '64760,"Electric_guitar,Guitar,Music","/m/02sgy,/m/0342h,/m/04rlf",train',
    '16399,"Bark,Dog","/m/1,/m/2",val',
    "345111,Rain,/m/3,train",
)
EVAL = ('37199,"Rain,Dog","/m/3,/m/2"',)
VOCABULARY = ("Bark", "Dog", "Electric_guitar", "Guitar", "Music", "Rain")


def tree(root: Path, *more: str, metadata: bool = True) -> Path:
    truth = root / "FSD50K.ground_truth"
    truth.mkdir(parents=True)
    (truth / "dev.csv").write_text("\n".join(["fname,labels,mids,split", *DEV, *more, ""]))
    (truth / "eval.csv").write_text("\n".join(["fname,labels,mids", *EVAL, ""]))
    lines = [f"{n},{name},/m/{n}" for n, name in enumerate(VOCABULARY)]
    (truth / "vocabulary.csv").write_text("\n".join([*lines, ""]))
    for part, rows in (("dev", DEV), ("eval", EVAL)):
        (root / f"FSD50K.{part}_audio").mkdir()
        names = [row.split(",")[0] for row in rows]
        for name in names:
            (root / f"FSD50K.{part}_audio" / f"{name}.wav").write_bytes(b"RIFF")
        if metadata:
            clips = {name: {"uploader": f"u{len(name)}", "tags": []} for name in names}
            (root / "FSD50K.metadata").mkdir(exist_ok=True)
            path = root / "FSD50K.metadata" / f"{part}_clips_info_FSD50K.json"
            path.write_text(json.dumps(clips))
    return root


def refusal(root: Path) -> str:
    with pytest.raises(UserError) as caught:
        fsd50k.tracks(Config(str(root)))
    return str(caught.value)


@pytest.mark.parametrize("below", ["", "FSD50K"])
def test_a_row_has_labels_uploader_and_official_split(tmp_path: Path, below: str) -> None:
    tree(tmp_path / below if below else tmp_path / "root")
    table = fsd50k.tracks(Config(str(tmp_path if below else tmp_path / "root")))
    rows = dict(zip(table["track_id"], table.itertuples(index=False), strict=True))
    assert rows["dev-64760"].label == "Electric_guitar;Guitar;Music"
    assert rows["eval-37199"].label == "Dog;Rain"
    assert {name.split("-")[1]: row.split for name, row in rows.items()} == {
        "64760": "train",
        "16399": "valid",
        "345111": "train",
        "37199": "test",
    }
    assert rows["dev-64760"].group == "uploader-u5"
    assert rows["dev-345111"].group == "uploader-u6"
    assert all(Path(path).is_file() for path in table["path"])


def test_without_metadata_a_recording_is_its_own_group_and_this_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = fsd50k.tracks(Config(str(tree(tmp_path / "root", metadata=False))))
    assert table["group"].nunique() == 4
    assert "each recording of dev is its own group" in caplog.text


def test_missing_recordings_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tree(tmp_path / "root", "5,Rain,/m/3,val")
    assert len(fsd50k.tracks(Config(str(root)))) == 4
    assert "fsd50k: 1 of 5 recordings are not in" in caplog.text


@pytest.mark.parametrize("row", ["5,Rain,/m/3,test", "5,Snow,/m/3,train", "5,,/m/3,train"])
def test_a_damaged_row_raises_a_user_error(tmp_path: Path, row: str) -> None:
    text = refusal(tree(tmp_path / "root", row))
    assert "have 1 rows with a split that is not train or val, without labels" in text
    assert "'5'" in text


def test_missing_tables_raise_a_user_error(tmp_path: Path) -> None:
    assert "FSD50K.ground_truth/dev.csv" in refusal(tmp_path)
    root = tree(tmp_path / "root")
    (root / "FSD50K.ground_truth" / "vocabulary.csv").unlink()
    assert "vocabulary.csv' cannot be read" in refusal(root)
    (root / "FSD50K.ground_truth" / "eval.csv").unlink()
    assert "eval.csv'; unpack FSD50K.ground_truth.zip" in refusal(root)


@pytest.mark.parametrize("content", ["[]", "{", '{"64760": {}}'])
def test_damaged_metadata_raises_a_user_error(tmp_path: Path, content: str) -> None:
    root = tree(tmp_path / "root")
    (root / "FSD50K.metadata" / "dev_clips_info_FSD50K.json").write_text(content)
    assert "has no uploaders of its recordings" in refusal(root)


def test_no_recording_at_all_raises_a_user_error(tmp_path: Path) -> None:
    root = tree(tmp_path / "root")
    for path in root.glob("FSD50K.*_audio/*"):
        path.unlink()
    assert "none of the 4 recordings that its table lists" in refusal(root)
