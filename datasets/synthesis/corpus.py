"""Which tracks a corpus has, and making those whose files are missing, on all cores.

`datasets.catalog.synthetic` asks for a corpus; `compose` gives the samples of each track.
"""

import io
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chorale.datasets import plugins
from chorale.datasets.atomic import atomic
from chorale.datasets.errors import UserError
from chorale.datasets.synthesis import SAMPLE_RATE, genres

VERSION = 1
"""Raised whenever the same seed no longer gives the same samples."""

_HEADER_BYTES = 44
_SAMPLE_BYTES = 2
_TRACKS_A_PROCESS = 12
"""A process takes longer to start than to compose this many."""
_MOST_PROCESSES = 16
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Song:
    """One track of a corpus."""

    genre: str
    artist: int
    number: int
    """Which of the artist's tracks it is, from 0."""

    @property
    def track_id(self) -> str:
        return f"{self.genre}-{self.artist:02d}-{self.number:03d}"

    @property
    def group(self) -> str:
        return f"{self.genre}-artist-{self.artist:02d}"

    @property
    def file(self) -> str:
        return f"{self.genre}/{self.track_id}.wav"


def labels() -> tuple[str, ...]:
    """The names of all genres, sorted."""
    return plugins.names(genres)


def plan(*, n_tracks: int, n_artists: int) -> tuple[Song, ...]:
    """The tracks of a corpus, spread evenly over the genres and over each genre's artists.

    The numbers of two genres, or of two artists of a genre, differ by one track at most.
    """
    names = labels()
    return tuple(
        Song(names[i % len(names)], i // len(names) % n_artists, i // len(names) // n_artists)
        for i in range(n_tracks)
    )


def n_samples(clip_s: float) -> int:
    """How many samples a clip of `clip_s` seconds has."""
    return round(clip_s * SAMPLE_RATE)


def missing(songs: Sequence[Song], folder: Path, *, clip_s: float) -> list[Song]:
    """The songs whose files are not in `folder`, or are not as long as they should be."""
    n_bytes = _HEADER_BYTES + _SAMPLE_BYTES * n_samples(clip_s)
    return [song for song in songs if _size(folder / song.file) != n_bytes]


def make(
    songs: Sequence[Song],
    folder: Path,
    *,
    seed: int,
    clip_s: float,
    on_song: Callable[[], None] = lambda: None,
    n_processes: int | None = None,
) -> None:
    """Composes `songs` and writes each to its file below `folder`.

    What was written stays when it is interrupted. The files are the same for any number of
    processes.

    Args:
        songs: what to make.
        folder: the corpus's folder.
        seed: the corpus's seed.
        clip_s: length of each track.
        on_song: called after every track.
        n_processes: as many as pay off on this machine when it is None.

    Raises:
        UserError: a worker process was killed.
        OSError: a file cannot be written.
    """
    n_processes = n_processes or _fitting_processes(len(songs))
    if n_processes == 1:
        for song in songs:
            write(song, folder, seed, clip_s)
            on_song()
        return
    context = multiprocessing.get_context("spawn")
    with _single_threaded_children():
        pool = ProcessPoolExecutor(n_processes, mp_context=context, initializer=_start_worker)
        try:
            pending = [pool.submit(write, song, folder, seed, clip_s) for song in songs]
            for done in as_completed(pending):
                done.result()
                on_song()
        except BrokenProcessPool:
            raise UserError(
                f"dataset 'synthetic': a worker process ended before its track was written to "
                f"'{folder}' (out of memory, or killed, or started from a script without "
                f"'if __name__ == \"__main__\":'); run the same command again: it goes on from "
                f"the tracks that are there"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def write(song: Song, folder: Path, seed: int, clip_s: float) -> None:
    """Composes one song and writes it as 16-bit PCM, wholly or not at all."""
    # these take a second to import, and a corpus that is there already needs none of them
    import numpy as np
    import soundfile

    from chorale.datasets.synthesis import compose

    samples = compose.track(
        seed=seed, genre=song.genre, artist=song.artist, number=song.number, clip_s=clip_s
    )
    encoded = io.BytesIO()
    pcm = np.round(samples * np.iinfo(np.int16).max).astype(np.int16)
    soundfile.write(encoded, pcm, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    with atomic(folder / song.file) as temporary:
        temporary.write_bytes(encoded.getvalue())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _fitting_processes(n_songs: int) -> int:
    if multiprocessing.current_process().daemon:  # such a process may have no children
        return 1
    affinity = getattr(os, "sched_getaffinity", None)
    n_cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min(n_cores, n_songs // _TRACKS_A_PROCESS, _MOST_PROCESSES))


@contextmanager
def _single_threaded_children() -> Iterator[None]:
    """Processes that are started within start no threads of their own for linear algebra."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _start_worker() -> None:
    """Leaves Ctrl-C to the parent, and ends with it even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
