"""Audio players of the report page: where a browser finds the file of a track.

The page gets a player where browsers can play the format, otherwise a link.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from chorale.datasets.atomic import write_json
from chorale.datasets.audio_formats import AUDIO_EXTENSIONS

if TYPE_CHECKING:
    import pandas as pd

PLAYABLE_SUFFIXES = frozenset(
    {".wav", ".mp3", ".flac", ".ogg", ".oga", ".opus", ".m4a", ".mp4", ".aac", ".webm", ".weba"}
)
"""Formats that browsers play; other audio files get a link only."""

LINKABLE_SUFFIXES = frozenset(f".{extension}" for extension in AUDIO_EXTENSIONS)


@dataclass(frozen=True)
class AudioLink:
    """The URL of a file; `plays` is true if browsers can play it."""

    url: str
    plays: bool


def write_audio_paths(file: Path, tracks: "pd.DataFrame") -> None:
    """Stores the audio path of each track with a study, as JSON, which can hold any file name."""
    each = zip(tracks["track_id"], tracks["path"], strict=True)
    write_json(file, {str(track): str(path) for track, path in each if isinstance(path, str)})


def read_audio_paths(file: Path) -> Mapping[str, Path] | None:
    """Track -> its file; None if the study has no such list, as in older versions."""
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        return {str(track): Path(path) for track, path in kept.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return None


def audio_link(path: Path | None, *, page: Path, runs: Path) -> AudioLink | None:
    """The link from `page` to a track's file; None if it is missing or no audio file.

    A file below `runs` gets a relative link, so that the folder can be moved as a whole; any other
    an absolute `file://` link.
    """
    if path is None or path.suffix.lower() not in LINKABLE_SUFFIXES:
        return None
    absolute = path.absolute()
    if not absolute.is_file():
        return None
    if absolute.is_relative_to(runs.absolute()):
        url = quote(os.fsencode(os.path.relpath(absolute, page.absolute().parent)))
    else:
        url = "file://" + quote(os.fsencode(absolute))
    return AudioLink(url, path.suffix.lower() in PLAYABLE_SUFFIXES)
