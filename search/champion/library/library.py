"""An opened library: its tracks, lookup by path, content or name, and similarity search.

`chorale serve` and `chorale recommend` use it; `search.champion.library.adding` adds tracks.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.errors import UserError
from chorale.search.bundle.bundle import Bundle
from chorale.search.champion.library.files import (
    LibraryContent,
    LibraryManifest,
    read_content,
    read_library_manifest,
)
from chorale.search.champion.library.index import Index, index_of
from chorale.search.champion.library.track import LibraryTrack, normalized_name
from chorale.search.paths import LibraryPaths


class Library:
    """The tracks of a library, in the order in which they were added."""

    def __init__(
        self, paths: LibraryPaths, manifest: LibraryManifest, content: LibraryContent
    ) -> None:
        """See `open`."""
        self.paths, self.manifest, self.content = paths, manifest, content

    @classmethod
    def open(cls, folder: Path) -> "Library":
        """Opens the library in `folder`; checks the hash of all its files.

        Raises:
            UserError: there is none, or it is damaged.
        """
        paths = LibraryPaths(Path(folder))
        manifest = read_library_manifest(paths)
        while True:
            try:
                return cls(paths, manifest, read_content(paths, manifest))
            except UserError:
                before, manifest = manifest, read_library_manifest(paths)
                if manifest == before:  # else another process has merged its parts
                    raise

    def require(self, bundle: Bundle, *, next_step: str) -> None:
        """Refuses another bundle than the library's: embeddings of two are not comparable.

        Args:
            bundle: the one in use.
            next_step: what to type instead.

        Raises:
            UserError: names both bundles.
        """
        require_bundle(self.paths, self.manifest, bundle, next_step=next_step)

    def similar(self, embedding: NDArray[np.float32], n: int) -> Sequence[dict[str, Any]]:
        """The `n` nearest tracks, nearest first: `track`, `artist`, `label`, `similarity`.

        `embedding` (width,) has length 1; `similarity` is the cosine; `artist` is empty where it is
        unknown, `label` where no label of the track reaches its threshold.
        """
        if not self.content.tracks:
            return []
        found = zip(*self.index.nearest(embedding, n), strict=True)
        return [
            {
                "track": track.title,
                "artist": track.artist,
                "label": ", ".join(track.predicted),
                "similarity": round(float(cosine), 4),
            }
            for track, cosine in ((self.content.tracks[row], one) for row, one in found)
        ]

    def with_label(self, label: str) -> tuple[LibraryTrack, ...]:
        """The tracks of a genre, or, of several labels, all for which it reaches its threshold.

        The most probable first.

        Raises:
            UserError: the library's bundle does not know the label.
        """
        labels, tracks = self.manifest.labels, self.content.tracks
        if label not in labels:
            raise UserError(
                f"the library in '{self.paths.root}' has no label '{label}'; expected one of "
                f"{', '.join(labels)}"
            )
        order = np.argsort(-self.content.proba[:, labels.index(label)], kind="stable")
        return tuple(tracks[row] for row in order if label in tracks[row].predicted)

    @cached_property
    def index(self) -> Index:
        """The nearest-neighbour index, built at first use."""
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
        """Title and artist, both `normalized_name` -> the first row of that name."""
        rows = enumerate(self.content.tracks)
        names = [
            ((normalized_name(track.title), normalized_name(track.artist)), row)
            for row, track in rows
        ]
        return dict(reversed(names))

    @cached_property
    def genres(self) -> NDArray[np.intp]:
        """(n_tracks,) the most probable genre of each, as an index of the labels."""
        return np.asarray(self.content.proba.argmax(axis=1), np.intp)

    @cached_property
    def rows_of_genres(self) -> list[NDArray[np.intp]]:
        """The rows of each label's tracks."""
        return [np.flatnonzero(self.genres == one) for one in range(len(self.manifest.labels))]

    @cached_property
    def artists(self) -> NDArray[np.intp]:
        """(n_tracks,) the number of each track's artist; an unknown artist has its own number."""
        return _numbered(track.artist_key for track in self.content.tracks)

    @cached_property
    def songs(self) -> NDArray[np.intp]:
        """(n_tracks,) the number of each song: equal title, artist and length in whole seconds.

        A track of an unknown artist is a song of its own.
        """
        return _numbered(
            (normalized_name(track.title), track.artist_key, round(track.duration_s))
            for track in self.content.tracks
        )


def _numbered(keys: Iterable[Hashable]) -> NDArray[np.intp]:
    """Equal keys get equal numbers, counted from 0."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.intp)


def require_bundle(
    paths: LibraryPaths, manifest: LibraryManifest, bundle: Bundle, *, next_step: str
) -> None:
    """See `Library.require`.

    Raises:
        UserError: it was made with another bundle.
    """
    if manifest.bundle == bundle.digest:
        return
    raise UserError(
        f"the library in '{paths.root}' was made with bundle {manifest.bundle[:12]} (of study "
        f"'{manifest.study}'), but got {bundle.digest[:12]} (of study '{bundle.manifest.study}'), "
        f"whose embeddings are not comparable; {next_step}"
    )
