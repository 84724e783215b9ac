"""Synthetic artists: random parameters, drawn once per artist, that make their tracks similar.

Instruments, drum kit, mixer, room and loudness are drawn around the genre's typical values and
overlap with other genres, while rhythm and harmony follow its rules: the timbre identifies the
artist rather than the genre. `piece` writes music for an artist, `mixdown` renders it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from chorale.datasets.synthesis import percussion
from chorale.datasets.synthesis.effects import Equaliser
from chorale.datasets.synthesis.grooves import Genre, Groove, Mix
from chorale.datasets.synthesis.timbres import ROLES, TIMBRES, Timbre, timbre_variant

ARTIST_VARIATION = 0.35
"""How much artists differ from the genre's typical sound."""
P_FOREIGN_INSTRUMENT = 0.08
"""Probability that a part is played on an instrument of any genre."""
P_FAVOURITE = 0.5
"""Probability that a track uses the artist's favourite option."""


@dataclass(frozen=True)
class MixerSettings:
    """How an artist's tracks are mixed."""

    levels_db: Mapping[str, float]
    equaliser: Equaliser
    room_s: float
    room_damping: float
    wet: float
    compression: float
    saturation: float
    noise_db: float
    """Level of the noise; the peak of a part is about 0 dB."""
    loudness_db: float
    """Mean power of the finished track, relative to full scale."""


@dataclass(frozen=True)
class Artist:
    """One artist of a genre and the parameters of their tracks."""

    genre: Genre
    groove: Groove
    tempo_bpm: float
    tempo_spread: float
    swing: float
    timing_spread_s: float
    """Standard deviation of the notes' onsets from the beat."""
    registers: Mapping[str, float]
    """Part -> the MIDI note around which it plays."""
    timbres: Mapping[str, Timbre]
    """Part -> instrument; a missing part is not played."""
    kit: Mapping[str, percussion.Drum]
    drums: bool
    mixer: MixerSettings
    favourites: Mapping[str, float]
    """Choice -> position of the favourite in the list of options, from 0 to 1."""

    def choice(self, what: str, n_options: int, rng: np.random.Generator) -> int:
        """Chooses one of `n_options`: the favourite with `P_FAVOURITE`, otherwise any."""
        if rng.uniform() < P_FAVOURITE:
            return min(n_options - 1, int(self.favourites[what] * n_options))
        return int(rng.integers(n_options))


def draw_artist(
    genre: Genre, rng: np.random.Generator, *, variation: float = ARTIST_VARIATION
) -> Artist:
    """A random artist of `genre`, who differs from its typical sound by `variation`."""
    groove = genre.grooves[int(rng.integers(len(genre.grooves)))]
    low, high = genre.tempo_bpm
    playing = [r for r in ("bass", "chords", "lead") if rng.uniform() >= genre.missing.get(r, 0.0)]
    choices = ("groove", "scale", "progression", "drums", "bass", "chords", "lead")
    return Artist(
        genre=genre,
        groove=groove,
        tempo_bpm=rng.uniform(low, high),
        tempo_spread=rng.uniform(0.02, 0.09),
        swing=rng.uniform(0, 1),
        timing_spread_s=rng.uniform(0.001, 0.016),
        registers={
            "bass": rng.uniform(33, 43),
            "chords": rng.uniform(50, 67),
            "lead": rng.uniform(62, 79),
        },
        timbres={role: _instrument(genre, role, rng, variation) for role in playing},
        kit=percussion.draw_kit(variation, rng),
        drums=bool(rng.uniform() >= genre.missing.get("drums", 0.0)),
        mixer=_mixer_settings(genre.mix, rng, variation),
        favourites={choice: rng.uniform() for choice in choices},
    )


def _instrument(genre: Genre, role: str, rng: np.random.Generator, variation: float) -> Timbre:
    names = ROLES[role] if rng.uniform() < P_FOREIGN_INSTRUMENT else genre.timbres[role]
    return timbre_variant(TIMBRES[names[int(rng.integers(len(names)))]], variation, rng)


def _mixer_settings(usual: Mix, rng: np.random.Generator, variation: float) -> MixerSettings:
    def off(spread: float) -> float:
        return float(variation * rng.uniform(-spread, spread))

    bumps = tuple((120 * 2 ** float(rng.uniform(0, 6)), off(8), 0.8 + off(0.4)) for _ in range(4))
    return MixerSettings(
        levels_db={part: level + off(5) for part, level in usual.levels_db.items()},
        equaliser=Equaliser(
            tilt_db=usual.tilt_db + off(2.5),
            bumps=bumps,
            low_cut_hz=50 * 2 ** off(1.2),
            high_cut_hz=7000 * 2 ** off(0.9),
        ),
        room_s=usual.room_s * 2 ** off(1.2),
        room_damping=0.4 + off(0.35),
        wet=usual.wet * 2 ** off(1.5),
        compression=max(0.0, usual.compression + off(0.3)),
        saturation=max(0.0, usual.saturation + off(2)),
        noise_db=-65 + off(15),
        loudness_db=usual.loudness_db + off(6),
    )
