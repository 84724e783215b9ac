"""The clips of a polyphonic corpus: which there are, and the instruments of each.

`datasets.catalog.synthetic_polyphonic` makes its track table from it; `polyphony` composes a clip.
"""

import functools
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from chorale.datasets.seeds import Purpose, random_generator
from chorale.datasets.synthesis.instruments import INSTRUMENTS, N_AT_ONCE

if TYPE_CHECKING:
    from numpy.typing import NDArray

POLYPHONY_VERSION = 1
"""Raise it when the same seed gives other samples or instruments."""


PREFERENCE = 0.6
"""Standard deviation of the logarithm of an artist's preference for an instrument."""


class Drawn(IntEnum):
    """What a stream of random numbers draws: the first number of its key."""

    PREFERENCES = 0
    INSTRUMENTS = 1
    ARTIST = 2
    PIECE = 3


def clip_generator(seed: int, drawn: Drawn, *key: int) -> np.random.Generator:
    """The random numbers for one thing; `key` is the artist, and the clip's number."""
    return random_generator(seed, Purpose.POLYPHONY, int(drawn), *key)


@functools.lru_cache(maxsize=1024)
def preferences(seed: int, artist: int) -> tuple[float, ...]:
    """How probable an artist chooses each of `INSTRUMENTS` first; the sum is 1."""
    rng = clip_generator(seed, Drawn.PREFERENCES, artist)
    usual = np.array([instrument.weight for instrument in INSTRUMENTS.values()])
    own = usual * np.exp(PREFERENCE * rng.standard_normal(usual.size))
    return tuple(float(weight) for weight in own / own.sum())


@dataclass(frozen=True)
class Clip:
    """One clip of a polyphonic corpus."""

    artist: int
    number: int
    """Number of the clip of the artist, from 0."""

    @property
    def track_id(self) -> str:
        return f"{self.group}-{self.number:03d}"

    @property
    def group(self) -> str:
        return f"artist-{self.artist:04d}"

    @property
    def file(self) -> str:
        return f"{self.group}/{self.track_id}.wav"

    def instruments(self, seed: int) -> tuple[str, ...]:
        """Its instruments, sorted: one to four."""
        rng = clip_generator(seed, Drawn.INSTRUMENTS, self.artist, self.number)
        n = int(rng.choice(len(N_AT_ONCE), p=N_AT_ONCE)) + 1
        weights = preferences(seed, self.artist)
        return tuple(sorted(map(str, rng.choice(list(INSTRUMENTS), n, replace=False, p=weights))))

    def samples(self, *, seed: int, clip_s: float) -> "NDArray[np.float64]":
        """Its samples, (clip_s * SAMPLE_RATE,), between -1 and 1."""
        # lazy: it takes a second to import, and an existing corpus does not need it
        from chorale.datasets.synthesis import polyphony

        return polyphony.compose_clip(self, seed=seed, clip_s=clip_s)


def plan_clips(*, n_tracks: int, n_artists: int) -> tuple[Clip, ...]:
    """The clips of a corpus; the numbers of clips of two artists differ by at most one."""
    return tuple(Clip(i % n_artists, i // n_artists) for i in range(n_tracks))
