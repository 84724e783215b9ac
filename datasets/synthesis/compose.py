"""The composer's door: which track is asked for, and what it sounds like.

`corpus` calls `track` for every row of the corpus, in any order and process.
"""

import numpy as np

from chorale.datasets import plugins
from chorale.datasets.synthesis import artists, genres, mixdown, piece
from chorale.datasets.synthesis.grooves import Genre
from chorale.datasets.synthesis.voices import Signal


def rules(genre: str) -> Genre:
    """The rules of a genre.

    Raises:
        UserError: there is no such genre.
    """
    found: Genre = plugins.load(genres, genre, kind="genre").GENRE
    return found


def track(*, seed: int, genre: str, artist: int, number: int, clip_s: float) -> Signal:
    """The samples of one track, (clip_s * SAMPLE_RATE,), between -1 and 1.

    The same arguments give the same samples; nothing else has an influence.

    Args:
        seed: the corpus's seed.
        genre: the name of a file in `datasets.synthesis.genres`.
        artist: which of the genre's artists plays it, from 0.
        number: which of the artist's tracks it is, from 0.
        clip_s: length of the excerpt.

    Raises:
        UserError: there is no such genre.
    """
    # by its name, so that a new genre changes none of the others
    origin = (int.from_bytes(genre.encode(), "big"), artist)
    person = artists.draw(rules(genre), _generator(seed, origin))
    rng = _generator(seed, (*origin, number))
    score = piece.write(person, clip_s, rng)
    return mixdown.mix(person, score, clip_s, rng)


def _generator(seed: int, origin: tuple[int, ...]) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=origin))
