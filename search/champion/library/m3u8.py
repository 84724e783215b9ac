"""Playlist files for audio players: extended M3U in UTF-8 (m3u8).

Source: RFC 8216, section 4.1, for `#EXTM3U` and `#EXTINF`; the form is older than it.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from chorale.datasets.atomic import write_text
from chorale.search.champion.library.track import LibraryTrack

_BREAKS = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")


def write_m3u8(path: Path, tracks: Sequence[LibraryTrack], *, relative: bool = False) -> None:
    """Writes the playlist.

    Args:
        path: the file; an existing one is replaced.
        tracks: in the order in which they are played.
        relative: writes paths relative to the playlist's folder, so that both can be moved
            together.
    """
    start = Path(os.path.abspath(path)).parent if relative else None  # noqa: PTH100
    lines = ["#EXTM3U"]
    for track in tracks:
        name = f"{track.artist} - {track.title}" if track.artist else track.title
        lines.append(f"#EXTINF:{max(1, round(track.duration_s))},{_one_line(name)}")
        lines.append(_place(track.path, start))
    write_text(path, "\n".join(lines) + "\n")


def _place(path: str, start: Path | None) -> str:
    """A path; as a URI where it has line breaks; prefixed where it begins like a comment."""
    if _BREAKS.search(path) or path != path.strip():
        return Path(path).as_uri()
    if start is None:
        return path
    below = os.path.relpath(path, start)
    return f"./{below}" if below[0] == "#" or below[0].isspace() else below


def _one_line(text: str) -> str:
    return _BREAKS.sub(" ", text).strip()
