"""Playlists and similar tracks: genre deviation, diversity, recall and latency. Prints tables.

    python tests/benchmarks/bench_recommend.py [--histories 200] [--sizes 1000 10000 100000]

Libraries are simulated: embeddings of 256 numbers, artists around their genre, tracks around their
artist, ten genres of unequal size, ten tracks per artist. So are histories: 3 to 200 tracks of 1 to
50 plays, of users with few favourite genres. One thread; milliseconds of wall time and of CPU time,
which other load affects less. Recall is of the ten nearest tracks, for recordings that are not in
the library.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from chorale.search.champion.library.library import Library
    from chorale.search.champion.library.taste import Taste

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
N_GENRES, WIDTH, TRACKS_AN_ARTIST = 10, 256, 10
LENGTH = 20
VARIETIES = [step / 10 for step in range(11)]


def simulate_library(n: int, *, n_queries: int = 0) -> "tuple[Library, NDArray[np.float32]]":
    """A library of `n` tracks, and the embeddings of other tracks by its artists."""
    import numpy as np

    from chorale.search.champion.library.files import (
        LIBRARY_VERSION,
        LibraryContent,
        LibraryManifest,
    )
    from chorale.search.champion.library.library import Library
    from chorale.search.champion.library.track import LibraryTrack
    from chorale.search.paths import LibraryPaths

    rng = np.random.default_rng(0)
    genres = rng.standard_normal(WIDTH) + 0.8 * rng.standard_normal((N_GENRES, WIDTH))
    n_artists = max(N_GENRES, n // TRACKS_AN_ARTIST)
    of_artist = rng.choice(N_GENRES, n_artists, p=rng.dirichlet(np.full(N_GENRES, 2.0)))
    artists = genres[of_artist] + 0.5 * rng.standard_normal((n_artists, WIDTH))
    artist = rng.integers(0, n_artists, n + n_queries)
    vectors = artists[artist] + 0.5 * rng.standard_normal((n + n_queries, WIDTH))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    logits = 20 * vectors @ (genres / np.linalg.norm(genres, axis=1, keepdims=True)).T
    proba = np.exp(logits - logits.max(axis=1, keepdims=True))
    proba /= proba.sum(axis=1, keepdims=True)
    labels = tuple(f"genre{i}" for i in range(N_GENRES))
    tracks = tuple(
        LibraryTrack(
            f"/m/{i}.wav", str(i), f"t{i}", f"a{artist[i]}", labels[proba[i].argmax()], 200.0
        )
        for i in range(n)
    )
    content = LibraryContent(tracks, vectors[:n].astype(np.float32), proba[:n].astype(np.float32))
    manifest = LibraryManifest(LIBRARY_VERSION, "none", "none", "none", labels)
    library = Library(LibraryPaths(Path("none")), manifest, content)
    return library, vectors[n:].astype(np.float32)


def histories(library: "Library", n: int) -> "Iterator[Taste]":
    """The listening histories of `n` users."""
    import numpy as np

    from chorale.search.champion.library.taste import Taste

    for seed in range(n):
        rng = np.random.default_rng(seed)
        likes = rng.dirichlet(np.full(N_GENRES, 0.4))[library.genres] + 1e-6
        n_played = min(int(rng.integers(3, 201)), len(likes) // 4)
        rows = rng.choice(len(likes), n_played, replace=False, p=likes / likes.sum())
        yield Taste(
            library.content.embeddings[rows],
            library.genres[rows],
            rng.integers(1, 51, n_played).astype(float),
            frozenset(map(str, rows)),
        )


def genres_and_diversity(n: int, n_histories: int) -> None:
    """Prints the tables of genre deviation and diversity."""
    import numpy as np

    from chorale.search.champion.library.playlist import playlist
    from chorale.search.champion.library.quotas import genre_entropy, points_apart

    library, _ = simulate_library(n)
    enough_tracks: list[float] = []
    deviation, distance, entropy, similarity = [], [], [], []
    for taste in histories(library, n_histories):
        lists = [playlist(library, taste, length=LENGTH, variety=v) for v in VARIETIES]
        deviation.append(points_apart(lists[0].wanted, lists[0].given))
        if not any("lacks" in note for note in lists[0].notes):
            enough_tracks.append(deviation[-1])
        distance.append([one.distance for one in lists])
        entropy.append([genre_entropy(one.given) for one in lists])
        similarity.append([float(one.similarity.mean()) for one in lists])
    print(f"\n{n} tracks, {n_histories} histories, playlists of {LENGTH}")
    print(f"genres at variety 0: {np.mean(deviation):.2f} points of deviation on average, at most "
          f"{max(deviation):.2f}")  # fmt: skip
    print(f"  the library had enough of every genre for {len(enough_tracks)} of them; at most "
          f"{max(enough_tracks):.2f}")  # fmt: skip
    print("variety   mean distance     genre entropy     similarity")
    for at, variety in enumerate(VARIETIES):
        columns = [f"{mean(np.array(one)[:, at]):>17}" for one in (distance, entropy, similarity)]
        print(f"{variety:7.1f} {''.join(columns)}")
    for name, rows, margin in (("distance", distance, 0.0), ("entropy", entropy, 1e-12)):
        rising = np.mean([all(b >= a - margin for a, b in pairwise(row)) for row in rows])
        strictly = np.mean([all(b > a for a, b in pairwise(row)) for row in rows])
        print(f"{name} never falls with variety in {rising:.1%} of histories, "
              f"rises at every step in {strictly:.1%}")  # fmt: skip


def mean(values: "NDArray[np.float64]") -> str:
    """A mean and half the width of its 95 % interval."""
    return f"{values.mean():.3f} ± {1.96 * values.std(ddof=1) / len(values) ** 0.5:.3f}"


def latency(n: int, rounds: int) -> None:
    """Prints the latencies of one library size."""
    import numpy as np

    from chorale.search.champion.library.index import ExactIndex, InvertedFileIndex
    from chorale.search.champion.library.playlist import playlist

    library, queries = simulate_library(n, n_queries=rounds)
    embeddings = library.content.embeddings
    exact = ExactIndex(embeddings)
    time_calls(f"{n:>7} exact", [partial(exact.nearest, one, 3) for one in queries], "1.000")
    try:
        began_s = time.process_time()
        cells = InvertedFileIndex(embeddings)
    except ImportError:
        print(f"{n:>7} cells    (faiss is not installed)")
    else:
        built_s = time.process_time() - began_s
        hits = [
            len({*cells.nearest(one, 10)[0]} & {*exact.nearest(one, 10)[0]}) / 10 for one in queries
        ]
        time_calls(
            f"{n:>7} cells",
            [partial(cells.nearest, one, 3) for one in queries],
            f"{np.mean(hits):.3f}, {cells.probed} cells probed, built in {built_s:.1f} s",
        )
    tastes = list(histories(library, max(5, rounds // 10)))
    _ = library.songs, library.artists, library.by_content, library.rows_of_genres
    for variety in (0.0, 0.5):
        lists = [partial(playlist, library, one, length=LENGTH, variety=variety) for one in tastes]
        time_calls(f"{n:>7} playlist, variety {variety}", lists, "")


def time_calls(what: str, calls: Sequence[Callable[[], Any]], more: str) -> None:
    """Times each call and prints percentiles."""
    import numpy as np

    calls[0]()  # fills caches
    wall_ms, cpu_ms = [], []
    for call in calls:
        began_s, cpu_s = time.perf_counter(), time.process_time()
        call()
        wall_ms.append(1e3 * (time.perf_counter() - began_s))
        cpu_ms.append(1e3 * (time.process_time() - cpu_s))
    figures = [np.percentile(ms, q) for ms in (wall_ms, cpu_ms) for q in (50, 99)]
    print(f"{what:<30}" + "".join(f"{one:9.2f}" for one in figures) + f"   {more}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="playlists and similar tracks")
    parser.add_argument("--histories", type=int, default=200)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=300)
    args = parser.parse_args()
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))  # before numpy is imported
    print(f"{'':30}{'wall p50':>9}{'p99':>9}{'cpu p50':>9}{'p99':>9}   recall   (ms)")
    for n in args.sizes:
        latency(n, args.rounds)
    for n in args.sizes[:2]:
        genres_and_diversity(n, args.histories)


if __name__ == "__main__":
    main()
