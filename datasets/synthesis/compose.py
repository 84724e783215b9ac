"""Generates one synthetic track: its samples from seed, genre, artist and number.

`corpus` calls `compose_track` for every track of the corpus, in any order and process.
"""

import numpy as np

from chorale.datasets import plugins
from chorale.datasets.synthesis import artists, genres, mixdown, piece
from chorale.datasets.synthesis.grooves import Genre
from chorale.datasets.synthesis.voices import Signal


def genre_rules(genre: str) -> Genre:
    """The rules of a genre.

    Raises:
        UserError: there is no such genre.
    """
    found: Genre = plugins.load_plugin(genres, genre, kind="genre").GENRE
    return found


def compose_track(*, seed: int, genre: str, artist: int, number: int, clip_s: float) -> Signal:
    """The samples of one track, (clip_s * SAMPLE_RATE,), between -1 and 1.

    They depend on the arguments only.

    Args:
        seed: the corpus's seed.
        genre: the name of a file in `datasets.synthesis.genres`.
        artist: number of the artist in the genre, from 0.
        number: number of the track of the artist, from 0.
        clip_s: length of the excerpt.

    Raises:
        UserError: there is no such genre.
    """
    # keyed by name, so that a new genre does not change the others
    origin = (int.from_bytes(genre.encode(), "big"), artist)
    performer = artists.draw_artist(genre_rules(genre), _generator(seed, origin))
    rng = _generator(seed, (*origin, number))
    score = piece.write_score(performer, clip_s, rng)
    return mixdown.mix_track(performer, score, clip_s, rng)


def _generator(seed: int, origin: tuple[int, ...]) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=origin))
