"""Embeds audio files into a library: known files are skipped, changed ones replaced.

A part is written every few tracks, and all parts are merged at the end.
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
    LibraryContent,
    LibraryManifest,
    append_part,
    create_library,
    read_library_manifest,
    rewrite_as_one_part,
)
from chorale.search.champion.library.library import Library, require_bundle
from chorale.search.champion.library.lock import library_lock
from chorale.search.champion.library.track import LibraryTrack, title_and_artist
from chorale.search.paths import LibraryPaths

PART_SIZE = 32
"""Tracks per part while embedding; a crash loses at most as many."""


class AddListener(Protocol):
    """Gets the progress of `add`."""

    def begin(self, what: str, n: int) -> None:
        """A step over `n` files begins."""
        ...

    def advance(self) -> None:
        """One of the step's files is done."""
        ...

    def bad(self, error: AudioError) -> None:
        """A file cannot be read and is skipped."""
        ...


@dataclass(frozen=True)
class AddResult:
    """The outcome of `add`, in numbers of tracks; `n_all` is the library's size."""

    n_new: int = 0
    n_known: int = 0
    n_moved: int = 0
    n_replaced: int = 0
    n_duplicates: int = 0
    n_bad: int = 0
    n_all: int = 0


def add(
    paths: LibraryPaths,
    predictor: Predictor,
    files: Sequence[Path],
    *,
    root: Path,
    listener: AddListener,
    artist: re.Pattern[str] | None = None,
    next_step: str = "give another place with --to LIBRARY",
) -> AddResult:
    """Adds `files`, which lie below `root`, to the library; creates it where there is none.

    Args:
        paths: of the library.
        predictor: the bundle of the library's embeddings.
        files: in the order in which they are added.
        root: the folder below which paths name artists and titles.
        listener: gets the progress, and the files that cannot be read.
        artist: see `title_and_artist`.
        next_step: what to type where the library was made with another bundle.

    Raises:
        UserError: another process adds to the library, it was made with another bundle, or it is
            damaged.
    """
    with library_lock(paths):
        if paths.manifest.is_file():
            manifest = read_library_manifest(paths)
            require_bundle(paths, manifest, predictor.bundle, next_step=next_step)
        else:
            manifest = create_library(paths, predictor.bundle)
        before = Library.open(paths.root)
        found, n_bad = _hash_files(files, listener)
        kept, n_moved, n_replaced = _keep_unchanged(before.content, found)
        known = {track.content for track in kept.tracks}
        fresh: dict[str, Path] = {}
        for path, content in found.items():
            if content not in known:
                fresh.setdefault(content, path)
        embedded = _embed(predictor, fresh, root=root, artist=artist, listener=listener)
        n_new, manifest = _append_in_parts(paths, manifest, embedded)
        if n_moved or n_replaced or len(manifest.parts) > 1:
            after = Library.open(paths.root).content
            new = range(len(before.content.tracks), len(after.tracks))
            rewrite_as_one_part(paths, manifest, concatenated(kept, after.rows(new)))
        n_known = len(known & set(found.values()))
        return AddResult(
            n_new,
            n_known - n_moved,
            n_moved,
            n_replaced,
            len(found) - len(set(found.values())),
            n_bad + len(fresh) - n_new,
            len(kept.tracks) + n_new,
        )


def concatenated(first: LibraryContent, second: LibraryContent) -> LibraryContent:
    """The tracks of `first`, then those of `second`."""
    if not first.tracks or not second.tracks:
        return first if first.tracks else second
    return LibraryContent(
        first.tracks + second.tracks,
        np.concatenate([first.embeddings, second.embeddings]),
        np.concatenate([first.proba, second.proba]),
    )


def _hash_files(files: Sequence[Path], listener: AddListener) -> tuple[dict[Path, str], int]:
    """The hash of each file's content, and how many files could not be read."""
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


def _keep_unchanged(
    content: LibraryContent, found: Mapping[Path, str]
) -> tuple[LibraryContent, int, int]:
    """The tracks that stay, with their present paths; how many moved, how many are dropped.

    A track is dropped where its file has other content now and no other file has the track's.
    """
    places: dict[str, list[str]] = {}
    for path, digest in found.items():
        places.setdefault(digest, []).append(str(path))
    rows: list[int] = []
    tracks: list[LibraryTrack] = []
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


def _embed(
    predictor: Predictor,
    fresh: Mapping[str, Path],
    *,
    root: Path,
    artist: re.Pattern[str] | None,
    listener: AddListener,
) -> Iterator[LibraryContent]:
    """Embeds one track after the other; unreadable files are reported and skipped."""
    listener.begin("embedding", len(fresh))
    labels = predictor.labels
    for content, path in fresh.items():
        try:
            waveform, sample_rate = audio.load_audio(path)
            tags = audio.read_tags(path)
        except AudioError as error:
            listener.bad(error)
            listener.advance()
            continue
        guess = predictor.predict_waveform(waveform, sample_rate)
        title, name = title_and_artist(
            path.relative_to(root.absolute()), tags, labels=labels, artist=artist
        )
        duration_s = round(len(waveform) / sample_rate, 3)
        chosen = guess.predicted
        several = None if chosen is None else tuple(labels[i] for i in guess.order if chosen[i])
        track = LibraryTrack(
            str(path), content, title, name, labels[guess.best], duration_s, several
        )
        yield LibraryContent((track,), guess.embedding[None], guess.proba[None].astype(np.float32))
        listener.advance()


def _append_in_parts(
    paths: LibraryPaths, manifest: LibraryManifest, embedded: Iterator[LibraryContent]
) -> tuple[int, LibraryManifest]:
    """Writes embedded tracks part by part; after an interruption also the ones not yet written."""
    n, waiting = 0, LibraryContent((), np.zeros((0, 0), np.float32), np.zeros((0, 0), np.float32))
    try:
        for one in embedded:
            waiting = concatenated(waiting, one)
            n += 1
            if len(waiting.tracks) >= PART_SIZE:
                part, waiting = waiting, waiting.rows([])
                manifest = append_part(paths, manifest, part)
    finally:
        if waiting.tracks:
            manifest = append_part(paths, manifest, waiting)
    return n, manifest
