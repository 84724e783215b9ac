"""Output formats of `chorale recommend`: a table, or JSON."""

import json

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.table import Table

from chorale.search.champion.library.library import Library
from chorale.search.champion.library.playlist import Playlist
from chorale.search.champion.library.quotas import genre_entropy, points_apart
from chorale.search.commands.console import console


def print_playlist(made: Playlist, library: Library) -> None:
    """Prints the tracks, then the wanted and the given genre shares in one line."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("title", overflow="ellipsis", max_width=48)
    table.add_column("artist", overflow="ellipsis", max_width=32)
    table.add_column("genre")
    table.add_column("similarity", justify="right")
    for track, similarity in zip(made.tracks, made.similarity, strict=True):
        names = (track.title, track.shown_artist, track.genre)
        table.add_row(*(_plain(name) for name in names), f"{similarity:.2f}")
    out = console()
    out.print(table)
    out.print(genre_shares_text(made, library), markup=False, soft_wrap=True)


def genre_shares_text(made: Playlist, library: Library) -> str:
    """The genre shares of the listening history and of the playlist, side by side."""
    labels = library.manifest.labels
    both = made.wanted + made.given
    shares = [
        f"{labels[i]} {made.wanted[i]:.0%} -> {made.given[i]:.0%}"
        for i in np.lexsort((np.arange(len(both)), -made.wanted))
        if both[i] > 0
    ]
    apart = points_apart(made.wanted, made.given)
    return (
        f"genres wanted -> here: {', '.join(shares)}; at most {apart:.1f} points apart, mean "
        f"distance {made.distance:.3f}"
    )


def print_playlist_json(made: Playlist, library: Library, *, variety: float) -> None:
    """Prints the playlist and its statistics as one object."""
    labels = library.manifest.labels
    tracks = [
        {
            "path": track.path,
            "title": track.title,
            "artist": track.artist or None,
            "genre": track.genre,
            "duration_s": track.duration_s,
            "likeness": round(float(similarity), 4),
        }
        for track, similarity in zip(made.tracks, made.similarity, strict=True)
    ]
    content = {
        "library": str(library.paths.root),
        "bundle": library.manifest.bundle,
        "variety": variety,
        "genres_heard": _named(labels, made.wanted),
        "genres_here": _named(labels, made.given),
        "points_apart": round(points_apart(made.wanted, made.given), 3),
        "mean_distance": round(made.distance, 6),
        "genre_entropy_nats": round(genre_entropy(made.given), 6),
        "notes": list(made.notes),
        "tracks": tracks,
    }
    print(json.dumps(content, ensure_ascii=False, indent=2))


def _named(labels: tuple[str, ...], shares: NDArray[np.float64]) -> dict[str, float]:
    return {label: round(float(share), 6) for label, share in zip(labels, shares, strict=True)}


def _plain(text: str) -> str:
    """A name without rich markup and without terminal control characters."""
    from rich.markup import escape

    return escape("".join(c for c in text if c.isprintable()))
