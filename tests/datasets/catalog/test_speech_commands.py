from pathlib import Path

import pytest

from chorale.datasets.catalog import speech_commands
from chorale.datasets.catalog.speech_commands import Config
from chorale.datasets.config import read_config
from chorale.datasets.errors import UserError

NAMES = (
    "yes/0a7c2a8d_nohash_0.wav",
    "yes/0a7c2a8d_nohash_1.wav",
    "no/0a7c2a8d_nohash_0.wav",
    "no/1b4c9b89_nohash_0.wav",
    "no/f98b7d2c_nohash_0.wav",
)


def tree(root: Path, *more: str) -> Path:
    for name in (*NAMES, "_background_noise_/white_noise.wav", "README.md", *more):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"RIFF")
    (root / "validation_list.txt").write_text("no/1b4c9b89_nohash_0.wav\n")
    (root / "testing_list.txt").write_text("no/f98b7d2c_nohash_0.wav\r\n")
    return root


@pytest.mark.parametrize(
    "below", ["", "speech_commands_v0.02", "SpeechCommands/speech_commands_v0.02"]
)
def test_a_recording_has_word_speaker_and_official_split(tmp_path: Path, below: str) -> None:
    tree(tmp_path / below)
    table = speech_commands.tracks(Config(str(tmp_path)))
    assert table["track_id"].tolist() == sorted(name.removesuffix(".wav") for name in NAMES)
    assert table["label"].tolist() == ["no", "no", "no", "yes", "yes"]
    speakers = ["0a7c2a8d", "1b4c9b89", "f98b7d2c", "0a7c2a8d", "0a7c2a8d"]
    assert table["group"].tolist() == [f"speaker-{one}" for one in speakers]
    assert table["split"].tolist() == ["train", "valid", "test", "train", "train"]
    assert table["fold"].isna().all()


def test_words_can_be_selected_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    root = str(tree(tmp_path))
    assert set(speech_commands.tracks(Config(root, words=("no",)))["label"]) == {"no"}
    with pytest.raises(UserError, match="words maybe are unknown; choose from"):
        read_config(Config, {"root": root, "words": ["maybe"]}, where="here")


def test_what_is_left_out_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tree(tmp_path, "no/other.wav")
    (tmp_path / "testing_list.txt").write_text("no/ffffffff_nohash_0.wav\n")
    assert len(speech_commands.tracks(Config(str(tmp_path), words=("no", "yes", "up")))) == 5
    assert "1 words have no recordings: up" in caplog.text
    assert "1 recordings of the official split are missing: no/ffffffff_nohash_0" in caplog.text
    assert "1 other files in the words' folders are skipped: no/other.wav" in caplog.text


def test_no_recording_and_no_list_raise_user_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no validation_list\.txt and testing_list\.txt in"):
        speech_commands.tracks(Config(str(tmp_path)))
    for name in ("validation_list.txt", "testing_list.txt"):
        (tmp_path / name).write_text("")
    with pytest.raises(UserError, match=r"no file such as yes/0a7c2a8d_nohash_0\.wav"):
        speech_commands.tracks(Config(str(tmp_path)))


def test_there_are_35_words() -> None:
    assert len(set(speech_commands.INFO.labels)) == 35
    assert "_background_noise_" not in speech_commands.INFO.labels
