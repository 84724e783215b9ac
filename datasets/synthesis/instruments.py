"""The ten instruments of polyphonic clips: their timbres, parts, registers and frequencies.

`polyphony` draws artists and clips from them; their names are the labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Instrument:
    """An instrument: names in `TIMBRES` (none for drums), and what it plays in a piece."""

    timbres: tuple[str, ...]
    roles: tuple[str, ...]
    """Parts of a piece that it may play: drums, bass, chords, lead."""
    register: tuple[float, float]
    """Range of the MIDI note around which an artist plays it."""
    weight: float
    """How often it is chosen, relative to the others."""


INSTRUMENTS: Mapping[str, Instrument] = {
    "bass": Instrument(("finger_bass", "upright_bass", "pick_bass"), ("bass",), (31, 43), 1.5),
    "brass": Instrument(("brass",), ("lead", "chords"), (50, 68), 0.7),
    "drums": Instrument((), ("drums",), (0, 1), 1.6),
    "flute": Instrument(("flute",), ("lead",), (66, 84), 0.8),
    "guitar": Instrument(("nylon_guitar", "steel_guitar"), ("chords", "lead"), (48, 66), 1.3),
    "organ": Instrument(("organ",), ("chords", "lead"), (50, 70), 0.8),
    "piano": Instrument(("piano",), ("chords", "lead"), (48, 72), 1.4),
    "saxophone": Instrument(("saxophone",), ("lead",), (52, 72), 0.9),
    "strings": Instrument(("strings",), ("chords", "lead"), (50, 74), 1.0),
    "vibraphone": Instrument(("vibraphone",), ("chords", "lead"), (56, 76), 0.55),
}

N_AT_ONCE = (0.25, 0.31, 0.28, 0.16)
"""Probabilities that 1, 2, 3 and 4 instruments play at once."""
