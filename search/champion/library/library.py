"""A library, opened: its tracks, how each is found again, and what sounds like something.

`chorale serve` and `chorale recommend` ask here; `search.champion.library.adding` fills it.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.errors import UserError
from chorale.search.bundle.bundle import Bundle
from chorale.search.champion.library.files import Content, Manifest, read_content, read_manifest
from chorale.search.champion.library.index import Index, index_of
from chorale.search.champion.library.track import folded
from chorale.search.paths import LibraryPaths


class Library:
    """The tracks of a library, in the order in which they came."""

    def __init__(self, paths: LibraryPaths, manifest: Manifest, content: Content) -> None:
        """See `open`."""
        self.paths, self.manifest, self.content = paths, manifest, content

    @classmethod
    def open(cls, folder: Path) -> "Library":
        """Opens the library in `folder`; the hash of every file of it is checked.

        Raises:
            UserError: there is none, or it cannot be used.
        """
        paths = LibraryPaths(Path(folder))
        manifest = read_manifest(paths)
        while True:
            try:
                return cls(paths, manifest, read_content(paths, manifest))
            except UserError:
                before, manifest = manifest, read_manifest(paths)
                if manifest == before:  # else another process has put its parts together
                    raise

    def require(self, bundle: Bundle, *, otherwise: str) -> None:
        """Stops where another bundle heard the library: vectors of two do not compare.

        Args:
            bundle: the one in use.
            otherwise: what to type instead.

        Raises:
            UserError: names both.
        """
        require(self.paths, self.manifest, bundle, otherwise=otherwise)

    def similar(self, embedding: NDArray[np.float32], n: int) -> Sequence[dict[str, Any]]:
        """The `n` nearest tracks, nearest first: `track`, `artist`, `label`, `similarity`.

        `embedding` (width,) has length 1; `similarity` is the cosine; `artist` is empty where
        nobody knows.
        """
        if not self.content.tracks:
            return []
        found = zip(*self.index.nearest(embedding, n), strict=True)
        return [
            {
                "track": track.title,
                "artist": track.artist,
                "label": track.genre,
                "similarity": round(float(cosine), 4),
            }
            for track, cosine in ((self.content.tracks[row], one) for row, one in found)
        ]

    @cached_property
    def index(self) -> Index:
        """What finds the nearest; made when it is first asked for."""
        return index_of(self.content.embeddings)

    @cached_property
    def by_content(self) -> Mapping[str, int]:
        """Hash of a file -> its row."""
        return {track.content: row for row, track in enumerate(self.content.tracks)}

    @cached_property
    def by_path(self) -> Mapping[str, int]:
        """Absolute path -> its row."""
        return {track.path: row for row, track in enumerate(self.content.tracks)}

    @cached_property
    def by_name(self) -> Mapping[tuple[str, str], int]:
        """Title and artist, both `folded` -> the first row of that name."""
        rows = enumerate(self.content.tracks)
        names = [((folded(track.title), folded(track.artist)), row) for row, track in rows]
        return dict(reversed(names))

    @cached_property
    def genres(self) -> NDArray[np.intp]:
        """(n_tracks,) the most probable genre of each, as a column of the labels."""
        return np.asarray(self.content.proba.argmax(axis=1), np.intp)

    @cached_property
    def rows_of_genres(self) -> list[NDArray[np.intp]]:
        """For each label the rows of its tracks."""
        return [np.flatnonzero(self.genres == one) for one in range(len(self.manifest.labels))]

    @cached_property
    def artists(self) -> NDArray[np.intp]:
        """(n_tracks,) a number for each artist; a track of nobody known has one of its own."""
        return _numbered(track.artist_key for track in self.content.tracks)

    @cached_property
    def songs(self) -> NDArray[np.intp]:
        """(n_tracks,) a number for each song: the same title, artist and length in whole seconds.

        Without an artist each track is a song of its own.
        """
        return _numbered(
            (folded(track.title), track.artist_key, round(track.duration_s))
            for track in self.content.tracks
        )


def _numbered(keys: Iterable[Hashable]) -> NDArray[np.intp]:
    """Equal keys get equal numbers, counted from 0."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.intp)


def require(paths: LibraryPaths, manifest: Manifest, bundle: Bundle, *, otherwise: str) -> None:
    """See `Library.require`.

    Raises:
        UserError: another bundle heard the library.
    """
    if manifest.bundle == bundle.digest:
        return
    raise UserError(
        f"the library in '{paths.root}' was made with bundle {manifest.bundle[:12]} (of study "
        f"'{manifest.study}'), but got {bundle.digest[:12]} (of study '{bundle.manifest.study}'), "
        f"which hears other things; {otherwise}"
    )
