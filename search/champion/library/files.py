"""Library storage: tracks as JSON, embeddings as safetensors, and a manifest with their hashes.

It is written in parts of a few tracks, so that a crash loses at most one; the manifest names a part
only when it is complete. `search.champion.library.adding` writes, `library.Library` reads.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from chorale.datasets.atomic import atomic_write, write_json
from chorale.datasets.config import config, read_config
from chorale.datasets.content import file_sha256
from chorale.datasets.errors import UserError
from chorale.search.bundle.bundle import Bundle
from chorale.search.champion.library.track import LibraryTrack
from chorale.search.paths import LibraryPaths

LIBRARY_VERSION = 1
"""Version of the layout; a library of another version is refused."""


@config
class LibraryPart:
    """Part of a library: the number in the names of its two files, and their SHA-256."""

    number: int
    tracks: str
    vectors: str


@config
class LibraryManifest:
    """The content of `library.json`.

    `bundle` is the digest of the bundle that embedded the tracks, `study` its study, `place` the
    folder it was in, and `labels` its genres, in the order of the probabilities' columns.
    """

    version: int
    bundle: str
    study: str
    place: str
    labels: tuple[str, ...]
    parts: tuple[LibraryPart, ...] = ()


@dataclass(frozen=True)
class LibraryContent:
    """All tracks of a library; row `i` of each array belongs to track `i`.

    `embeddings` (n_tracks, width) float32, each row of length 1 or 0; `proba`
    (n_tracks, n_classes) float32, each row sums to 1, except where tracks have several labels.
    """

    tracks: tuple[LibraryTrack, ...]
    embeddings: NDArray[np.float32]
    proba: NDArray[np.float32]

    def rows(self, rows: Sequence[int]) -> "LibraryContent":
        """The given rows only."""
        at = np.asarray(rows, np.intp)
        return LibraryContent(
            tuple(self.tracks[i] for i in at), self.embeddings[at], self.proba[at]
        )


def create_library(paths: LibraryPaths, bundle: Bundle) -> LibraryManifest:
    """Writes the manifest of an empty library.

    Raises:
        UserError: the folder is not empty.
    """
    if paths.root.is_dir() and any(p.name != paths.lock.name for p in paths.root.iterdir()):
        raise UserError(
            f"'{paths.root}' is not empty and is not a library; give another folder with "
            f"--to LIBRARY"
        )
    about = bundle.manifest
    place = str(bundle.paths.root.absolute())
    manifest = LibraryManifest(LIBRARY_VERSION, bundle.digest, about.study, place, about.labels)
    write_json(paths.manifest, asdict(manifest))
    return manifest


def read_library_manifest(paths: LibraryPaths) -> LibraryManifest:
    """Reads `library.json`.

    Raises:
        UserError: there is none, it is damaged, or another version of Chorale wrote it.
    """
    try:
        content = json.loads(paths.manifest.read_text(encoding="utf-8"))
        version = content["version"]
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"there is no library in '{paths.root}'; make one with: chorale library add FOLDER "
            f"--to {paths.root}"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damaged_library(paths, f"{paths.manifest.name} cannot be read ({error})") from None
    if version != LIBRARY_VERSION:
        raise UserError(
            f"the library in '{paths.root}' has version={version}, but this Chorale reads "
            f"{LIBRARY_VERSION}; use the version of Chorale that made it, or add the tracks to a "
            f"new library: chorale library add FOLDER --to LIBRARY"
        )
    return read_config(LibraryManifest, content, where=str(paths.manifest))


def read_content(paths: LibraryPaths, manifest: LibraryManifest) -> LibraryContent:
    """Reads all parts in their order; checks the hash of each file.

    Raises:
        UserError: a file is missing, changed, or inconsistent with the others.
    """
    tracks: list[LibraryTrack] = []
    embeddings, proba = [], []
    for part in manifest.parts:
        for path, digest in zip(_files(paths, part), (part.tracks, part.vectors), strict=True):
            _check(paths, path, digest)
        try:
            listed = json.loads(paths.tracks(part.number).read_text(encoding="utf-8"))
            vectors = safetensors.numpy.load_file(paths.vectors(part.number))
            tracks += [LibraryTrack.from_json(one) for one in listed]
            embeddings.append(vectors["embeddings"])
            proba.append(vectors["proba"])
        except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
            raise damaged_library(paths, f"part {part.number} cannot be read ({error})") from None
    n_labels = len(manifest.labels)
    if not tracks:
        return LibraryContent((), np.zeros((0, 0), np.float32), np.zeros((0, n_labels), np.float32))
    if len({one.shape[1] for one in embeddings}) != 1:
        raise damaged_library(paths, "its parts have embeddings of several widths")
    content = LibraryContent(tuple(tracks), _joined(embeddings), _joined(proba))
    n = len(tracks)
    if len(content.embeddings) != n or content.proba.shape != (n, n_labels):
        raise damaged_library(paths, "its tracks, embeddings and probabilities are inconsistent")
    return content


def append_part(
    paths: LibraryPaths, manifest: LibraryManifest, content: LibraryContent
) -> LibraryManifest:
    """Adds a part; gives the new manifest."""
    part = _write_part(paths, max((p.number for p in manifest.parts), default=0) + 1, content)
    manifest = replace(manifest, parts=(*manifest.parts, part))
    write_json(paths.manifest, asdict(manifest))
    return manifest


def rewrite_as_one_part(
    paths: LibraryPaths, manifest: LibraryManifest, content: LibraryContent
) -> LibraryManifest:
    """Replaces all parts by one with `content`; files of no part are deleted."""
    number = max((p.number for p in manifest.parts), default=0) + 1
    parts = (_write_part(paths, number, content),) if content.tracks else ()
    manifest = replace(manifest, parts=parts)
    write_json(paths.manifest, asdict(manifest))
    kept = {path for part in parts for path in _files(paths, part)}
    for path in paths.parts():
        if path not in kept:
            path.unlink(missing_ok=True)
    return manifest


def damaged_library(paths: LibraryPaths, why: str) -> UserError:
    """The error for a library that cannot be used."""
    return UserError(
        f"the library in '{paths.root}' cannot be used: {why}; restore it, or remove the folder "
        f"and add the tracks again: chorale library add FOLDER --to {paths.root}"
    )


def _write_part(paths: LibraryPaths, number: int, content: LibraryContent) -> LibraryPart:
    arrays: dict[str, NDArray[Any]] = {
        "embeddings": np.ascontiguousarray(content.embeddings, np.float32),
        "proba": np.ascontiguousarray(content.proba, np.float32),
    }
    # bytes, not a file: safetensors' own writing hides a full disk
    vectors = safetensors.numpy.save(arrays)
    tracks = json.dumps([one.as_json() for one in content.tracks], ensure_ascii=False).encode()
    digests = []
    for path, data in ((paths.tracks(number), tracks), (paths.vectors(number), vectors)):
        with atomic_write(path) as temporary:
            temporary.write_bytes(data)
        digests.append(hashlib.sha256(data).hexdigest())
    return LibraryPart(number, *digests)


def _files(paths: LibraryPaths, part: LibraryPart) -> tuple[Path, Path]:
    return paths.tracks(part.number), paths.vectors(part.number)


def _check(paths: LibraryPaths, path: Path, digest: str) -> None:
    try:
        found = file_sha256(path)
    except OSError:
        raise damaged_library(paths, f"'{path.name}' is missing") from None
    if found != digest:
        raise damaged_library(
            paths, f"'{path.name}' is not the file that the manifest was written for"
        )


def _joined(arrays: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
