"""Libraries of synthetic embeddings, and bundles of untrained networks to embed files with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from chorale.search.champion.library.files import LIBRARY_VERSION, LibraryContent, LibraryManifest
from chorale.search.champion.library.library import Library
from chorale.search.champion.library.taste import Taste
from chorale.search.champion.library.track import LibraryTrack
from chorale.search.paths import LibraryPaths

RATE = 8000
WIDTH = 32

MakeLibrary = Callable[..., Library]


@pytest.fixture
def make_library() -> MakeLibrary:
    """Clustered embeddings: artists around their genre, tracks around their artist; in memory."""

    def make(n: int, *, n_genres: int = 6, tracks_an_artist: int = 5, seed: int = 0) -> Library:
        rng = np.random.default_rng(seed)
        n_artists = max(n_genres, n // tracks_an_artist)
        genres = rng.standard_normal(WIDTH) + 0.8 * rng.standard_normal((n_genres, WIDTH))
        of_artist = np.arange(n_artists) % n_genres
        artists = genres[of_artist] + 0.5 * rng.standard_normal((n_artists, WIDTH))
        artist = np.arange(n) % n_artists
        vectors = artists[artist] + 0.5 * rng.standard_normal((n, WIDTH))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        proba = np.full((n, n_genres), 0.1 / (n_genres - 1))
        proba[np.arange(n), of_artist[artist]] = 0.9
        labels = tuple(f"genre{i}" for i in range(n_genres))
        tracks = tuple(
            LibraryTrack(
                f"/m/{i}.wav", f"c{i}", f"t{i}", f"a{artist[i]}", labels[of_artist[artist[i]]], 9
            )
            for i in range(n)
        )
        manifest = LibraryManifest(LIBRARY_VERSION, "digest", "study", "place", labels)
        content = LibraryContent(tracks, vectors.astype(np.float32), proba.astype(np.float32))
        return Library(LibraryPaths(Path("none")), manifest, content)

    return make


@pytest.fixture
def make_taste() -> Callable[..., Taste]:
    """A listener who played tracks of a library, some genres more than others."""

    def make(library: Library, *, seed: int) -> Taste:
        rng = np.random.default_rng(seed)
        n_genres = len(library.manifest.labels)
        likes = rng.dirichlet(np.full(n_genres, 0.5))[library.genres]
        n = int(rng.integers(3, 30))
        rows = rng.choice(len(likes), n, replace=False, p=(likes + 1e-6) / (likes + 1e-6).sum())
        return Taste(
            library.content.embeddings[rows],
            library.genres[rows],
            rng.integers(1, 20, n).astype(float),
            frozenset(f"c{row}" for row in rows),
        )

    return make


@pytest.fixture(scope="session")
def bundles(make_bundle: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two bundles with different embeddings."""
    root = tmp_path_factory.mktemp("bundles")
    one = make_bundle(root / "one", [("cnn", "mel", {}, {})])
    other = make_bundle(root / "other", [("cnn", "mfcc", {}, {})])
    return one, other


def write_tone(path: Path, *, hz: float, seconds: float = 0.5, **tags: str) -> Path:
    """A tone, with tags."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time_s = np.arange(int(seconds * RATE)) / RATE
    hiss = np.random.default_rng(int(hz)).standard_normal(len(time_s))
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        for name, text in tags.items():
            setattr(file, name, text)
        file.write(0.3 * np.sin(2 * np.pi * hz * time_s) + 0.03 * hiss)
    return path


@pytest.fixture(scope="session")
def tone() -> Callable[..., Path]:
    return write_tone


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Twelve tones by three artists."""
    root = tmp_path / "music"
    for i in range(12):
        write_tone(root / f"artist{i % 3}" / f"{i:02d}.wav", hz=200 + 90 * i)
    return root
