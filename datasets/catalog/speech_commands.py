"""Speech Commands v0.02: 105,829 recordings of about 1 s of 35 spoken words.

The track table has the official split, and the speaker as group. Files:

    {word}/{SPEAKER}_nohash_{N}.wav               16,000 Hz, mono
    validation_list.txt, testing_list.txt         the paths of two parts; the rest is for training
    _background_noise_/*.wav                      minutes of noise, which are no class

Pitfalls: a speaker (the hash before `_nohash_`) says many words, and some several times; the lists
put all of a speaker's recordings into one part.
"""

import logging
import re
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.datasets.base import DatasetInfo, Download, existing_folder, track_table
from chorale.datasets.config import NameList, config
from chorale.datasets.errors import UserError, join_first

if TYPE_CHECKING:
    import pandas as pd

# fmt: off
WORDS = (
    "backward", "bed", "bird", "cat", "dog", "down", "eight", "five", "follow", "forward", "four",
    "go", "happy", "house", "learn", "left", "marvin", "nine", "no", "off", "on", "one", "right",
    "seven", "sheila", "six", "stop", "three", "tree", "two", "up", "visual", "wow", "yes", "zero",
)
# fmt: on

LISTS = {"valid": "validation_list.txt", "test": "testing_list.txt"}
"""Part of the official split -> the file that lists its recordings."""

INFO = DatasetInfo(
    name="speech_commands",
    title="Speech Commands v0.02: 35 spoken words, with an official split by speaker",
    licence="CC BY 4.0",
    citation=(
        "P. Warden: Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition, 2018, "
        "arXiv:1804.03209"
    ),
    homepage="https://arxiv.org/abs/1804.03209",
    labels=WORDS,
    n_tracks=105_829,
    size="2.4 GB, as a tar",
    checksums={
        "speech_commands_v0.02.tar.gz": (
            "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58"
        )
    },
    downloads=(
        Download(
            "https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
            "speech_commands_v0.02.tar.gz",
            unpack_to="speech_commands_v0.02",
        ),
    ),
)

_SUBFOLDERS = ("", "speech_commands_v0.02", "SpeechCommands/speech_commands_v0.02")
"""Possible folders of the words below `root`; the last is that of torchaudio."""
_FILE_NAME = re.compile(r"(?P<speaker>[0-9A-Za-z]+)_nohash_\d+\.wav")

_log = logging.getLogger("chorale")


@config
class Config:
    """Where the recordings are, and which words to use."""

    root: str
    """folder that contains the words' folders and testing_list.txt, or its parent"""
    words: NameList = ()
    """only these words; without them all 35"""

    def __post_init__(self) -> None:
        unknown = [word for word in self.words if word not in WORDS]
        if unknown:
            raise ValueError(f"words {', '.join(unknown)} are unknown; choose from {WORDS}")


def tracks(config: Config) -> "pd.DataFrame":
    """One row per recording: its word, its speaker as group, the official split.

    Words without a folder, recordings that a list names and that are missing, and other files in
    the words' folders are left out and counted.

    Raises:
        UserError: there are no recordings, or a list of the official split is missing.
    """
    root = _folder(config.root)
    parts = {
        name: part
        for part, file in LISTS.items()
        for name in (root / file).read_text(encoding="utf-8").split()
    }
    words = config.words or WORDS
    rows, others = [], []
    for word in words:
        for path in sorted((root / word).glob("*")):
            name = f"{word}/{path.name}"
            if (found := _FILE_NAME.fullmatch(path.name)) is None:
                others.append(name)
                continue
            row = {"track_id": name.removesuffix(".wav"), "path": str(path), "label": word}
            split = parts.get(name, "train")
            rows.append({**row, "group": f"speaker-{found['speaker']}", "split": split})
    if not rows:
        raise UserError(
            f"dataset 'speech_commands': no file such as yes/0a7c2a8d_nohash_0.wav in '{root}'; "
            f"give the folder of the words with --dataset.root FOLDER"
        )
    here = {f"{row['track_id']}.wav" for row in rows}
    missing = [name for name in parts if name not in here and name.split("/")[0] in words]
    _warn("words have no recordings", set(words) - {row["label"] for row in rows})
    _warn("recordings of the official split are missing", missing)
    _warn("other files in the words' folders are skipped", others)
    return track_table(rows)


def _folder(given: str) -> Path:
    root = existing_folder(given, dataset=INFO.name)
    for name in _SUBFOLDERS:
        if all((root / name / file).is_file() for file in LISTS.values()):
            return root / name
    raise UserError(
        f"dataset 'speech_commands': there is no {' and '.join(LISTS.values())} in '{root}'; give "
        f"the folder that contains them with --dataset.root FOLDER"
    )


def _warn(what: str, names: Collection[str]) -> None:
    if names:
        _log.warning("speech_commands: %d %s: %s", len(names), what, join_first(sorted(names)))
