"""Synthetic corpus on disk: the list of its tracks, and parallel generation of missing files.

`generate` calls it; `compose` and `polyphony` generate the samples of each track.
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
from typing import TYPE_CHECKING, Protocol, TypeVar

from chorale.datasets import plugins
from chorale.datasets.atomic import atomic_write
from chorale.datasets.errors import UserError
from chorale.datasets.synthesis import SAMPLE_RATE, genres

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

COMPOSER_VERSION = 1
"""Raise it when the same seed gives other samples."""

T = TypeVar("T", bound="Track")

_HEADER_BYTES = 44
_SAMPLE_BYTES = 2
_MIN_TRACKS_PER_PROCESS = 12
"""Starting a process takes longer than generating this many tracks."""
_MAX_PROCESSES = 16
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Track(Protocol):
    """One track of a corpus; it can be sent to a worker process."""

    @property
    def track_id(self) -> str:
        """Its identifier."""
        ...

    @property
    def group(self) -> str:
        """Its artist."""
        ...

    @property
    def file(self) -> str:
        """Its file below the corpus's folder."""
        ...

    def samples(self, *, seed: int, clip_s: float) -> "NDArray[np.float64]":
        """Its samples, (clip_s * SAMPLE_RATE,), between -1 and 1."""
        ...


@dataclass(frozen=True)
class Song:
    """One track of the corpus of genres."""

    genre: str
    artist: int
    number: int
    """Number of the track of the artist, from 0."""

    @property
    def track_id(self) -> str:
        return f"{self.genre}-{self.artist:02d}-{self.number:03d}"

    @property
    def group(self) -> str:
        return f"{self.genre}-artist-{self.artist:02d}"

    @property
    def file(self) -> str:
        return f"{self.genre}/{self.track_id}.wav"

    def samples(self, *, seed: int, clip_s: float) -> "NDArray[np.float64]":
        """Its samples, (clip_s * SAMPLE_RATE,), between -1 and 1."""
        # lazy: it takes a second to import, and an existing corpus does not need it
        from chorale.datasets.synthesis import compose

        return compose.compose_track(
            seed=seed, genre=self.genre, artist=self.artist, number=self.number, clip_s=clip_s
        )


def genre_names() -> tuple[str, ...]:
    """The names of all genres, sorted."""
    return plugins.plugin_names(genres)


def plan_songs(*, n_tracks: int, n_artists: int) -> tuple[Song, ...]:
    """The tracks of a corpus, evenly distributed over genres and over the artists of each genre.

    The counts of two genres, or of two artists of a genre, differ by at most one track.
    """
    names = genre_names()
    return tuple(
        Song(names[i % len(names)], i // len(names) % n_artists, i // len(names) // n_artists)
        for i in range(n_tracks)
    )


def n_samples(clip_s: float) -> int:
    """The number of samples of a clip of `clip_s` seconds."""
    return round(clip_s * SAMPLE_RATE)


def missing_songs(songs: Sequence[T], folder: Path, *, clip_s: float) -> list[T]:
    """The songs whose files are missing in `folder`, or have the wrong size."""
    n_bytes = _HEADER_BYTES + _SAMPLE_BYTES * n_samples(clip_s)
    return [song for song in songs if _size(folder / song.file) != n_bytes]


def write_songs(
    songs: Sequence[Track],
    folder: Path,
    *,
    seed: int,
    clip_s: float,
    on_song: Callable[[], None] = lambda: None,
    n_processes: int | None = None,
) -> None:
    """Generates `songs` and writes each to its file below `folder`.

    Finished files are kept after an interruption. The files are the same for any number of
    processes.

    Args:
        songs: the tracks to generate.
        folder: the corpus's folder.
        seed: the corpus's seed.
        clip_s: length of each track.
        on_song: called after every track.
        n_processes: number of processes; None for the best number on this machine.

    Raises:
        UserError: a worker process was killed.
        OSError: a file cannot be written.
    """
    n_processes = n_processes or _fitting_processes(len(songs))
    if n_processes == 1:
        for song in songs:
            write_song(song, folder, seed, clip_s)
            on_song()
        return
    context = multiprocessing.get_context("spawn")
    with _single_threaded_children():
        pool = ProcessPoolExecutor(n_processes, mp_context=context, initializer=_start_worker)
        try:
            pending = [pool.submit(write_song, song, folder, seed, clip_s) for song in songs]
            for done in as_completed(pending):
                done.result()
                on_song()
        except BrokenProcessPool:
            raise UserError(
                f"synthetic corpus: a worker process ended before its track was written to "
                f"'{folder}' (out of memory, or killed, or started from a script without "
                f"'if __name__ == \"__main__\":'); run the same command again: it keeps the "
                f"tracks that are finished"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def write_song(song: Track, folder: Path, seed: int, clip_s: float) -> None:
    """Generates one song and writes it as 16-bit PCM, atomically."""
    import numpy as np
    import soundfile

    samples = song.samples(seed=seed, clip_s=clip_s)
    encoded = io.BytesIO()
    pcm = np.round(samples * np.iinfo(np.int16).max).astype(np.int16)
    soundfile.write(encoded, pcm, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    with atomic_write(folder / song.file) as temporary:
        temporary.write_bytes(encoded.getvalue())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _fitting_processes(n_songs: int) -> int:
    if multiprocessing.current_process().daemon:  # a daemon may not have child processes
        return 1
    affinity = getattr(os, "sched_getaffinity", None)
    n_cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min(n_cores, n_songs // _MIN_TRACKS_PER_PROCESS, _MAX_PROCESSES))


@contextmanager
def _single_threaded_children() -> Iterator[None]:
    """Processes started within the block use one thread for linear algebra."""
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
    """Ignores Ctrl-C, and exits when the parent process ends, even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
