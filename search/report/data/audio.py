"""Where a browser finds a track's audio: links beside the page, players for what it can play."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from chorale.datasets.atomic import write_json

if TYPE_CHECKING:
    import pandas as pd

PLAYED = (".wav", ".mp3", ".flac", ".ogg", ".oga", ".opus")
"""What browsers play; other files are only linked to."""

HEARD = (*PLAYED, ".au", ".snd", ".aif", ".aiff")


@dataclass(frozen=True)
class Audio:
    """A link to a file; `plays` says whether browsers can play it."""

    url: str
    plays: bool


def write_audio(file: Path, tracks: "pd.DataFrame") -> None:
    """Keeps with a study where the file of each track lies; in JSON, which can hold any name."""
    each = zip(tracks["track_id"], tracks["path"], strict=True)
    write_json(file, {str(track): str(path) for track, path in each if isinstance(path, str)})


def read_audio(file: Path) -> Mapping[str, Path] | None:
    """Track -> its file; None where the study keeps no such list, as those of older versions."""
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        return {str(track): Path(path) for track, path in kept.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return None


def audio_of(path: Path | None, *, page: Path, runs: Path) -> Audio | None:
    """The link to a track's file from `page`; None where there is no file, or none to be heard.

    A file below `runs` is linked to from the page, so that the folder can be moved as a whole; any
    other by its full address.
    """
    if path is None or path.suffix.lower() not in HEARD:
        return None
    whole = path.absolute()
    if not whole.is_file():
        return None
    if whole.is_relative_to(runs.absolute()):
        url = quote(os.fsencode(os.path.relpath(whole, page.absolute().parent)))
    else:
        url = "file://" + quote(os.fsencode(whole))
    return Audio(url, path.suffix.lower() in PLAYED)
