"""Scales, chords and chord progressions, all in semitones.

The parts of a piece (`parts`) choose their pitches from these.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic_minor": (0, 2, 3, 5, 7, 8, 11),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "phrygian_dominant": (0, 1, 4, 5, 7, 8, 10),
    "major_pentatonic": (0, 2, 4, 7, 9),
    "minor_pentatonic": (0, 3, 5, 7, 10),
    "blues": (0, 3, 5, 6, 7, 10),
    "bebop": (0, 2, 4, 5, 7, 8, 9, 10, 11),
}
"""Semitones above the tonic."""

_QUALITIES = {
    "": (0, 4, 7),
    "m": (0, 3, 7),
    "5": (0, 7, 12),
    "6": (0, 4, 7, 9),
    "7": (0, 4, 7, 10),
    "9": (0, 4, 10, 14),
    "maj7": (0, 4, 7, 11),
    "maj9": (0, 4, 11, 14),
    "m7": (0, 3, 7, 10),
    "m9": (0, 3, 10, 14),
    "m7b5": (0, 3, 6, 10),
    "dim": (0, 3, 6),
    "sus": (0, 5, 7),
}
_DEGREES = {"i": 0, "ii": 2, "iii": 4, "iv": 5, "v": 7, "vi": 9, "vii": 11}
_SYMBOL = re.compile(r"([b#]?)([ivIV]+)(.*)")


@dataclass(frozen=True)
class Chord:
    """A chord: `root` in semitones above the tonic, `tones` in semitones above the root."""

    root: int
    tones: tuple[int, ...]


def parse_chord(symbol: str) -> Chord:
    """Parses a roman numeral: "IV", "bVII", "ii7" (lower case is minor), "Imaj7", "v5".

    Raises:
        ValueError: the symbol is no numeral or its quality is unknown.
    """
    match = _SYMBOL.fullmatch(symbol)
    numeral = match[2].lower() if match else ""
    if match is None or numeral not in _DEGREES:
        raise ValueError(f"chord symbol '{symbol}' is no roman numeral, such as 'IV' or 'bVII7'")
    quality = match[3]
    if match[2].islower() and quality in ("", "7", "9", "7b5"):
        quality = "m" + quality
    if quality not in _QUALITIES:
        raise ValueError(f"chord symbol '{symbol}': unknown quality '{quality}'")
    root = _DEGREES[numeral] + {"": 0, "b": -1, "#": 1}[match[1]]
    return Chord(root % 12, _QUALITIES[quality])


def parse_progression(text: str) -> tuple[tuple[Chord, ...], ...]:
    """Parses bars separated by spaces; a comma divides a bar: "ii7,V7 Imaj7" is two bars."""
    return tuple(tuple(parse_chord(symbol) for symbol in bar.split(",")) for bar in text.split())


def voicing(of: Chord, *, key: int, centre: float) -> list[int]:
    """The chord's notes in the octave around `centre`, low to high.

    Args:
        of: the chord.
        key: pitch class of the tonic, 0 to 11.
        centre: MIDI note around which the voices are placed.
    """
    notes = {nearest_pitch(key + of.root + tone, centre=centre) for tone in of.tones}
    return sorted(notes)


def nearest_pitch(pitch: int, *, centre: float) -> int:
    """The MIDI note of the pitch class of `pitch` that is nearest to `centre`."""
    return pitch + 12 * round((centre - pitch) / 12)


def scale_notes(scale: Sequence[int], *, key: int, centre: float, reach: int) -> list[int]:
    """The MIDI notes of a scale within `reach` semitones of `centre`, low to high."""
    lowest, highest = round(centre) - reach, round(centre) + reach
    return [n for n in range(lowest, highest + 1) if (n - key) % 12 in scale]


def frequency_hz(midi: float) -> float:
    """The frequency of a MIDI note; 69 is 440 Hz."""
    return float(440.0 * 2.0 ** ((midi - 69.0) / 12.0))
