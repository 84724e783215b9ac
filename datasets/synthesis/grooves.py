"""Data classes of a genre: grooves, mix and harmony, in which `genres` states its rules.

A groove is a set of rhythms that belong together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Groove:
    """One bar of rhythm for each part, in the notation of `rhythm.parse_pattern`; alternatives.

    In a bass line a character is a degree of the chord: R root, 3, 5, 7, 8 octave, a the note
    below the next root, w a step of a walking line. In the chords, x and X are the full chord, u
    an upstroke, m a muted one, p and q the fifth and sixth above the root, and 1 to 4 single notes
    from the lowest. In the lead, every character is the next note of the melody.
    """

    drums: tuple[Mapping[str, str], ...]
    """Each maps a drum to its pattern."""
    bass: tuple[str, ...]
    chords: tuple[str, ...]
    lead: tuple[str, ...]
    beats: int = 4
    swing: tuple[float, float] = (0.5, 0.5)
    """Range of the position of the second note of a pair; 0.5 is straight, 0.67 triplets."""
    pair: float = 1.0
    """Length of such a pair in beats."""


@dataclass(frozen=True)
class Mix:
    """Typical mix of a genre; its artists vary it."""

    levels_db: Mapping[str, float]
    tilt_db: float = 0.0
    room_s: float = 0.7
    wet: float = 0.2
    compression: float = 0.2
    saturation: float = 0.5
    loudness_db: float = -19.0


@dataclass(frozen=True)
class Genre:
    """The rules that all artists of a genre share."""

    tempo_bpm: tuple[float, float]
    grooves: tuple[Groove, ...]
    scales: tuple[str, ...]
    progressions: tuple[str, ...]
    timbres: Mapping[str, tuple[str, ...]]
    """Part -> the genre's typical instruments; an artist may use others."""
    mix: Mix
    missing: Mapping[str, float] = field(default_factory=dict)
    """Part -> share of artists that play without it."""
    rubato: float = 0.0
    slides: float = 0.05
    """Share of the melody's notes that begin with a slide."""
    leaps: float = 0.2
    """Share of the melody's steps that are wide."""
    lead_rests: float = 0.25
    """Share of bars in which the melody is silent."""
