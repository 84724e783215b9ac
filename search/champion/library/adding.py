"""Adds files to a library: what is known is skipped, what changed is replaced, the rest is heard.

A part is written every few tracks, and all are put together in the end.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from chorale.datasets import audio
from chorale.datasets.audio import AudioError
from chorale.search.bundle.predictor import Predictor
from chorale.search.champion.library.files import (
    Content,
    Manifest,
    append,
    begin,
    read_manifest,
    rewrite,
)
from chorale.search.champion.library.library import Library, require
from chorale.search.champion.library.lock import one_at_a_time
from chorale.search.champion.library.track import Track, names_of
from chorale.search.paths import LibraryPaths

PART = 32
"""So many tracks are heard before they are written: what an interruption loses at most."""


class Listener(Protocol):
    """Who is told how far it is."""

    def begin(self, what: str, n: int) -> None:
        """A step over `n` files begins."""
        ...

    def advance(self) -> None:
        """One of them is done."""
        ...

    def bad(self, error: AudioError) -> None:
        """A file gives nothing; the rest is done."""
        ...


@dataclass(frozen=True)
class Added:
    """What became of the files: numbers of tracks."""

    n_new: int = 0
    n_known: int = 0
    n_moved: int = 0
    n_replaced: int = 0
    n_doubled: int = 0
    n_bad: int = 0
    n_all: int = 0


def add(
    paths: LibraryPaths,
    predictor: Predictor,
    files: Sequence[Path],
    *,
    root: Path,
    listener: Listener,
    artist: re.Pattern[str] | None = None,
    otherwise: str = "give another place with --to LIBRARY",
) -> Added:
    """Adds `files`, which lie below `root`, to the library, which is made where there is none.

    Args:
        paths: of the library.
        predictor: the bundle that heard the library, or will.
        files: in the order in which they come in.
        root: what artists and titles are read below.
        listener: is told how far it is, and which files are bad.
        artist: see `names_of`.
        otherwise: what to type where another bundle heard the library.

    Raises:
        UserError: another process adds, or another bundle heard the library, or it is damaged.
    """
    with one_at_a_time(paths):
        if paths.manifest.is_file():
            manifest = read_manifest(paths)
            require(paths, manifest, predictor.bundle, otherwise=otherwise)
        else:
            manifest = begin(paths, predictor.bundle)
        before = Library.open(paths.root)
        found, n_bad = _hashed(files, listener)
        kept, n_moved, n_replaced = _settled(before.content, found)
        known = {track.content for track in kept.tracks}
        fresh: dict[str, Path] = {}
        for path, content in found.items():
            if content not in known:
                fresh.setdefault(content, path)
        work = _heard(predictor, fresh, root=root, artist=artist, listener=listener)
        n_new, manifest = _append_all(paths, manifest, work)
        if n_moved or n_replaced or len(manifest.parts) > 1:
            after = Library.open(paths.root).content
            new = range(len(before.content.tracks), len(after.tracks))
            rewrite(paths, manifest, joined(kept, after.rows(new)))
        n_known = len(known & set(found.values()))
        return Added(
            n_new,
            n_known - n_moved,
            n_moved,
            n_replaced,
            len(found) - len(set(found.values())),
            n_bad + len(fresh) - n_new,
            len(kept.tracks) + n_new,
        )


def joined(first: Content, second: Content) -> Content:
    """One after the other."""
    if not first.tracks or not second.tracks:
        return first if first.tracks else second
    return Content(
        first.tracks + second.tracks,
        np.concatenate([first.embeddings, second.embeddings]),
        np.concatenate([first.proba, second.proba]),
    )


def _hashed(files: Sequence[Path], listener: Listener) -> tuple[dict[Path, str], int]:
    """The content of each file, and how many could not be read."""
    listener.begin("reading", len(files))
    found, n_bad = {}, 0
    for path in files:
        try:
            _refuse_unwritable_name(path)
            found[path.absolute()] = audio.content_hash(path)
        except AudioError as error:
            n_bad += 1
            listener.bad(error)
        listener.advance()
    return found, n_bad


def _refuse_unwritable_name(path: Path) -> None:
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        shown = str(path).encode("utf-8", "replace").decode()
        detail = "its name is not valid UTF-8; rename it"
        raise AudioError(shown, "unreadable", detail) from None


def _settled(content: Content, found: Mapping[Path, str]) -> tuple[Content, int, int]:
    """The tracks that stay, under the paths where they lie now; how many moved, how many went.

    A track goes where its file holds something else by now and no other file holds it.
    """
    places: dict[str, list[str]] = {}
    for path, digest in found.items():
        places.setdefault(digest, []).append(str(path))
    rows: list[int] = []
    tracks: list[Track] = []
    n_moved = 0
    for row, track in enumerate(content.tracks):
        now = found.get(Path(track.path))
        if now != track.content and (now is not None or not Path(track.path).is_file()):
            if elsewhere := places.get(track.content):
                track = replace(track, path=elsewhere[0])
                n_moved += 1
            elif now is not None:
                continue
        rows.append(row)
        tracks.append(track)
    n_replaced = len(content.tracks) - len(rows)
    return replace(content.rows(rows), tracks=tuple(tracks)), n_moved, n_replaced


def _heard(
    predictor: Predictor,
    fresh: Mapping[str, Path],
    *,
    root: Path,
    artist: re.Pattern[str] | None,
    listener: Listener,
) -> Iterator[Content]:
    """One track after the other, as a content of one; bad ones are told and left out."""
    listener.begin("hearing", len(fresh))
    labels = predictor.labels
    for content, path in fresh.items():
        try:
            waveform, sample_rate = audio.load(path)
            tags = audio.tags(path)
        except AudioError as error:
            listener.bad(error)
            listener.advance()
            continue
        guess = predictor.of_waveform(waveform, sample_rate)
        title, name = names_of(
            path.relative_to(root.absolute()), tags, labels=labels, artist=artist
        )
        duration_s = round(len(waveform) / sample_rate, 3)
        track = Track(str(path), content, title, name, labels[guess.best], duration_s)
        yield Content((track,), guess.embedding[None], guess.proba[None].astype(np.float32))
        listener.advance()


def _append_all(
    paths: LibraryPaths, manifest: Manifest, heard: Iterator[Content]
) -> tuple[int, Manifest]:
    """Writes what is heard, part by part; what was heard before an interruption is written, too."""
    n, waiting = 0, Content((), np.zeros((0, 0), np.float32), np.zeros((0, 0), np.float32))
    try:
        for one in heard:
            waiting = joined(waiting, one)
            n += 1
            if len(waiting.tracks) >= PART:
                part, waiting = waiting, waiting.rows([])
                manifest = append(paths, manifest, part)
    finally:
        if waiting.tracks:
            manifest = append(paths, manifest, waiting)
    return n, manifest
