"""Track metadata of a library: title and artist from tags, folder names or the file name."""

import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import Any

UNKNOWN_ARTIST = "unknown"
"""The name shown for an unknown artist, which is stored as an empty string."""


@dataclass(frozen=True)
class LibraryTrack:
    """One track.

    `path` is absolute; `content` is the SHA-256 of the file's bytes, by which a moved file is
    found. `genre` is the bundle's most probable class; `artist` is empty where it is unknown.
    `labels` are all that reach their thresholds, the most probable first, where the bundle's
    recordings have several; None where they have one class.
    """

    path: str
    content: str
    title: str
    artist: str
    genre: str
    duration_s: float
    labels: tuple[str, ...] | None = None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "LibraryTrack":
        """The track that `as_json` wrote.

        Raises:
            TypeError: a value is missing, or unknown.
        """
        labels = values.get("labels")
        return cls(**{**values, "labels": None if labels is None else tuple(labels)})

    def as_json(self) -> dict[str, Any]:
        """The fields, JSON-ready; `labels` only where a recording may have several."""
        found = asdict(self)
        if self.labels is None:
            del found["labels"]
        return found

    @property
    def predicted(self) -> tuple[str, ...]:
        """What the bundle predicts: one class, or any number of labels."""
        return (self.genre,) if self.labels is None else self.labels

    @property
    def artist_key(self) -> str:
        """A key that is equal for spellings of one artist; of an unknown artist the content hash.

        Two tracks of unknown artists do not count as the same artist.
        """
        return normalized_name(self.artist) or self.content

    @property
    def shown_artist(self) -> str:
        """The artist's name for display."""
        return self.artist or UNKNOWN_ARTIST


def normalized_name(name: str) -> str:
    """A name with case folded and white space stripped and collapsed."""
    return " ".join(name.split()).casefold()


def title_and_artist(
    below: PurePath,
    tags: Mapping[str, str],
    *,
    labels: Collection[str],
    artist: re.Pattern[str] | None = None,
) -> tuple[str, str]:
    """The title and the artist of a file; the artist is empty where it is unknown.

    A regular expression on the path takes precedence over tags, and these over folder and file
    names: a first folder that is named like a genre is skipped, the next one is the artist;
    without folders the file name is split as `Artist - Title.mp3`.

    Args:
        below: its path below the folder that was added.
        tags: the file's tags, `title` and `artist`.
        labels: the bundle's genres.
        artist: a pattern whose group `artist`, or else first group, is the artist.

    Returns:
        Title, artist.
    """
    title = " ".join(tags.get("title", "").split())
    name = " ".join(tags.get("artist", "").split())
    if artist is not None and (match := artist.search(below.as_posix())):
        key: str | int = "artist" if "artist" in artist.groupindex else 1
        name = (match.group(key) or "").strip()
    folders = list(below.parent.parts)
    if folders and normalized_name(folders[0]) in {normalized_name(label) for label in labels}:
        del folders[0]
    stem = below.stem
    if not name and folders:
        name = folders[0]
    before, dash, after = stem.partition(" - ")
    if not name and dash and before.strip() and after.strip():
        name, stem = before.strip(), after.strip()
    return title or stem, name
