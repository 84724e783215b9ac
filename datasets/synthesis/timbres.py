"""Instrument timbres: a table of synthesis parameters, and their random variation by artist.

`voices` renders a timbre at a pitch; `genres` and `artists` choose from this table.
"""

import dataclasses
from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Timbre:
    """Synthesis parameters of an instrument; fields that its `engine` does not use are ignored."""

    engine: Literal["table", "fm", "pluck", "mallet"]
    attack_s: float = 0.005
    decay_s: float = 0.6
    """Time constant of the decay towards `sustain`."""
    sustain: float = 0.0
    """Level until the note ends, from 0 to 1."""
    release_s: float = 0.06
    tilt: float = 1.2
    """Harmonic k has the amplitude k ** -tilt."""
    even: float = 1.0
    """Weight of the even harmonics, 0 to 1."""
    dull_s: float = 0.3
    """Time constant of the decay of the high harmonics."""
    dull_tilt: float = 1.5
    """Additional tilt of the spectrum after that decay."""
    vibrato_cents: float = 0.0
    detune_cents: float = 0.0
    breath: float = 0.0
    """Level of breath noise, 0 to 1."""
    formants_hz: tuple[float, ...] = ()
    ratio: float = 2.0
    """FM: the modulator's frequency over the carrier's; mallet: spread of the partials."""
    index: float = 2.0
    """FM: depth of modulation at the attack, in radians."""
    damping: float = 0.3
    """Pluck: 0 is bright, 0.5 is dull."""
    drive: float = 0.0
    """Distortion of the part, 0 (none) to 40 (fuzz)."""


TIMBRES = {
    "piano": Timbre("table", 0.003, 0.7, tilt=1.5, dull_s=0.25, detune_cents=3),
    "electric_piano": Timbre("fm", 0.003, 0.8, ratio=1.0, index=1.6),
    "organ": Timbre("table", 0.01, 1, 1.0, 0.04, tilt=0.9, even=0.7, dull_tilt=0, detune_cents=4),
    "strings": Timbre(
        "table", 0.08, 1, 0.9, 0.15, tilt=1.1, vibrato_cents=14, detune_cents=11, dull_tilt=0.2
    ),
    "brass": Timbre("table", 0.04, 0.5, 0.7, 0.06, tilt=0.7, dull_s=0.5, vibrato_cents=6),
    "flute": Timbre("table", 0.05, 1, 0.9, 0.08, tilt=2.3, vibrato_cents=16, breath=0.15),
    "clarinet": Timbre("table", 0.03, 1, 0.9, 0.06, tilt=1.2, even=0.12, vibrato_cents=5),
    "saxophone": Timbre(
        "table", 0.03, 0.8, 0.8, 0.06, tilt=0.9, vibrato_cents=14, breath=0.08, formants_hz=(1100,)
    ),
    "harmonica": Timbre(
        "table", 0.03, 1, 0.9, 0.05, tilt=0.6, vibrato_cents=18, formants_hz=(900, 2400)
    ),
    "voice": Timbre(
        "table", 0.05, 1, 0.9, 0.08, tilt=1.0, vibrato_cents=22, formants_hz=(600, 1200, 2600)
    ),
    "rap": Timbre(
        "table", 0.012, 0.16, 0.2, 0.04, tilt=0.7, breath=0.12, formants_hz=(500, 1600, 2700)
    ),
    "nylon_guitar": Timbre("pluck", decay_s=1.2, damping=0.45),
    "steel_guitar": Timbre("pluck", decay_s=1.8, damping=0.2),
    "slide_guitar": Timbre(
        "table", 0.03, 1.2, 0.5, 0.1, tilt=1.3, vibrato_cents=25, dull_s=0.4, drive=1.5
    ),
    "banjo": Timbre("pluck", decay_s=0.35, damping=0.1),
    "mandolin": Timbre("pluck", decay_s=0.5, damping=0.15, detune_cents=8),
    "harpsichord": Timbre("pluck", decay_s=0.9, damping=0.05),
    "clean_guitar": Timbre("pluck", decay_s=1.0, damping=0.3, drive=1.0),
    "crunch_guitar": Timbre("pluck", decay_s=2.0, damping=0.25, drive=7.0),
    "fuzz_guitar": Timbre("pluck", decay_s=3.0, damping=0.25, drive=25.0),
    "synth_saw": Timbre("table", 0.01, 0.4, 0.6, 0.08, tilt=1.0, detune_cents=14, dull_s=0.35),
    "synth_square": Timbre("table", 0.005, 0.3, 0.6, 0.05, tilt=1.0, even=0.0, dull_s=0.2),
    "synth_pluck": Timbre("table", 0.003, 0.18, tilt=0.9, dull_s=0.09, detune_cents=10),
    "pad": Timbre("table", 0.2, 1, 1.0, 0.3, tilt=1.6, detune_cents=16, dull_tilt=0.3),
    "vibraphone": Timbre("mallet", 0.002, 0.9, ratio=3.9),
    "marimba": Timbre("mallet", 0.002, 0.25, ratio=3.9),
    "bell": Timbre("fm", 0.002, 0.9, ratio=3.5, index=2.5),
    "upright_bass": Timbre("pluck", decay_s=0.6, damping=0.5),
    "finger_bass": Timbre("table", 0.006, 0.5, 0.3, tilt=1.7, dull_s=0.2),
    "pick_bass": Timbre("pluck", decay_s=1.0, damping=0.25, drive=2.0),
    "slap_bass": Timbre("fm", 0.002, 0.35, ratio=1.0, index=3.5),
    "synth_bass": Timbre("table", 0.004, 0.3, 0.5, tilt=1.0, dull_s=0.12, detune_cents=8),
    "sub_bass": Timbre("table", 0.01, 0.9, 0.5, 0.1, tilt=3.2, drive=1.0),
    "cello": Timbre("table", 0.05, 1, 0.9, 0.1, tilt=1.2, vibrato_cents=10, detune_cents=5),
}

# fmt: off
ROLES = {
    "bass": (
        "upright_bass", "finger_bass", "pick_bass", "slap_bass", "synth_bass", "sub_bass", "cello",
    ),
    "chords": (
        "piano", "electric_piano", "organ", "strings", "brass", "nylon_guitar", "steel_guitar",
        "banjo", "clean_guitar", "crunch_guitar", "fuzz_guitar", "synth_saw", "synth_square",
        "synth_pluck", "pad", "vibraphone", "harpsichord",
    ),
    "lead": (
        "piano", "electric_piano", "organ", "strings", "brass", "flute", "clarinet", "saxophone",
        "harmonica", "voice", "rap", "steel_guitar", "slide_guitar", "mandolin", "clean_guitar",
        "crunch_guitar", "fuzz_guitar", "synth_saw", "synth_square", "vibraphone", "marimba",
        "bell",
    ),
}
"""Part -> the timbres that can play it in any genre."""
# fmt: on


def timbre_variant(of: Timbre, strength: float, rng: np.random.Generator) -> Timbre:
    """A random variation of an instrument for one artist.

    `strength` is the amount of variation; at 1 times, levels and depths by up to a factor of 1.6.
    """

    def own(value: float) -> float:
        return float(value * 1.6 ** (strength * rng.uniform(-1, 1)))

    return dataclasses.replace(
        of,
        attack_s=own(of.attack_s),
        decay_s=own(of.decay_s),
        tilt=of.tilt * (1 + 0.25 * strength * rng.uniform(-1, 1)),
        even=min(1.0, own(of.even)),
        dull_s=own(of.dull_s),
        vibrato_cents=own(of.vibrato_cents),
        detune_cents=own(of.detune_cents),
        breath=own(of.breath),
        formants_hz=tuple(f * (1 + 0.15 * strength * rng.uniform(-1, 1)) for f in of.formants_hz),
        index=own(of.index),
        damping=min(0.5, own(of.damping)),
        drive=own(of.drive),
    )
