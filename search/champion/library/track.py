"""What a library knows of one track; the names come from its tags, its folder or its file."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import PurePath

UNKNOWN = "unknown"
"""What is shown where nobody knows the artist; kept as an empty text."""


@dataclass(frozen=True)
class Track:
    """One track.

    `path` is absolute; `content` is the SHA-256 of the file's bytes, by which it is found again
    where it was moved. `genre` is what the bundle takes it for; `artist` is empty where unknown.
    """

    path: str
    content: str
    title: str
    artist: str
    genre: str
    duration_s: float

    @property
    def artist_key(self) -> str:
        """The artist, so that two spellings are one; of an unknown one the track's content.

        Two tracks of nobody known are not two of the same.
        """
        return folded(self.artist) or self.content

    @property
    def shown_artist(self) -> str:
        """The artist for people."""
        return self.artist or UNKNOWN


def folded(name: str) -> str:
    """A name without its case and its spaces at either end, of which inner ones count once."""
    return " ".join(name.split()).casefold()


def names_of(
    below: PurePath,
    tags: Mapping[str, str],
    *,
    labels: Collection[str],
    artist: re.Pattern[str] | None = None,
) -> tuple[str, str]:
    """The title and the artist of a file; the artist is empty where it is unknown.

    A regular expression on the path goes before the tags, these before the names of folders and
    files: a first folder that is called like a genre is passed over, the next is the artist's;
    without folders `Artist - Title.mp3` is taken apart.

    Args:
        below: its path below the folder that was added.
        tags: what the file says, `title` and `artist`.
        labels: the bundle's genres.
        artist: its group `artist`, or else its first, is the artist.

    Returns:
        Title, artist.
    """
    title = " ".join(tags.get("title", "").split())
    name = " ".join(tags.get("artist", "").split())
    if artist is not None and (match := artist.search(below.as_posix())):
        key: str | int = "artist" if "artist" in artist.groupindex else 1
        name = (match.group(key) or "").strip()
    folders = list(below.parent.parts)
    if folders and folded(folders[0]) in {folded(label) for label in labels}:
        del folders[0]
    stem = below.stem
    if not name and folders:
        name = folders[0]
    before, dash, after = stem.partition(" - ")
    if not name and dash and before.strip() and after.strip():
        name, stem = before.strip(), after.strip()
    return title or stem, name
