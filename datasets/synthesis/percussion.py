"""Drum synthesis from sine sweeps and filtered noise.

Every artist has a random kit (`draw_kit`); `mixdown` renders each drum once per track with
`drum_hit`.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
from scipy.signal import butter, sosfilt

from chorale.datasets.synthesis import SAMPLE_RATE
from chorale.datasets.synthesis.voices import Signal


@dataclass(frozen=True)
class Drum:
    """A drum: a sine whose frequency falls from `bend * hz` to `hz`, and band-filtered noise."""

    hz: float
    bend: float
    tone: float
    tone_s: float
    noise: float
    noise_s: float
    low_hz: float
    high_hz: float
    bursts: int = 1
    metal: float = 0.0
    """Level of inharmonic partials."""


DRUMS = {
    "kick": Drum(55, 3.0, 1.0, 0.13, 0.08, 0.01, 600, 5000),
    "snare": Drum(185, 1.4, 0.6, 0.07, 0.7, 0.09, 900, 8000),
    "rim": Drum(900, 1.0, 0.5, 0.015, 0.5, 0.015, 1500, 6000),
    "clap": Drum(200, 1.0, 0.0, 0.05, 1.0, 0.08, 900, 4500, bursts=3),
    "hat": Drum(300, 1.0, 0.0, 0.02, 0.5, 0.025, 6000, 10500, metal=0.3),
    "open": Drum(300, 1.0, 0.0, 0.2, 0.5, 0.17, 5500, 10500, metal=0.4),
    "ride": Drum(420, 1.0, 0.0, 0.3, 0.25, 0.16, 4500, 10500, metal=0.7),
    "crash": Drum(350, 1.0, 0.0, 0.6, 0.8, 0.5, 2500, 10500, metal=0.5),
    "tom": Drum(105, 1.5, 1.0, 0.14, 0.15, 0.03, 300, 3000),
    "shaker": Drum(300, 1.0, 0.0, 0.02, 0.4, 0.035, 4500, 10000),
    "conga": Drum(230, 1.15, 0.9, 0.09, 0.15, 0.02, 400, 3000),
    "cowbell": Drum(560, 1.0, 0.4, 0.08, 0.05, 0.02, 1000, 6000, metal=0.8),
    "brush": Drum(200, 1.0, 0.1, 0.03, 0.4, 0.06, 1500, 7000),
    "timpani": Drum(75, 1.1, 1.0, 0.5, 0.08, 0.04, 150, 1200),
}
_METAL = (1.0, 1.483, 1.932, 2.546, 2.630, 3.897)
"""Partials of a plate, near those of the TR-808's six oscillators."""


def draw_kit(strength: float, rng: np.random.Generator) -> dict[str, Drum]:
    """A random drum kit: tuning, decay and tone of every drum vary.

    `strength` is the amount of variation; at 1 up to a factor of 1.5.
    """

    def factor() -> float:
        return float(1.5 ** (strength * rng.uniform(-1, 1)))

    size, length, grit, dark = (factor() for _ in range(4))

    def own(drum: Drum) -> Drum:
        return dataclasses.replace(
            drum,
            hz=drum.hz * size * factor() ** 0.3,
            bend=1 + (drum.bend - 1) * factor(),
            tone=drum.tone * factor() ** 0.5,
            tone_s=drum.tone_s * length * factor() ** 0.5,
            noise=drum.noise * grit * factor() ** 0.5,
            noise_s=drum.noise_s * length * factor() ** 0.5,
            low_hz=drum.low_hz * dark,
            high_hz=min(10_500.0, drum.high_hz * dark),
            metal=drum.metal * factor(),
        )

    return {name: own(drum) for name, drum in DRUMS.items()}


def drum_hit(drum: Drum, rng: np.random.Generator) -> Signal:
    """The samples of one hit until it has decayed; its peak is 1."""
    length_s = 5 * max(drum.tone_s if drum.tone else 0.0, drum.noise_s)
    time_s = np.arange(int(length_s * SAMPLE_RATE)) / SAMPLE_RATE
    sweep = drum.hz * (time_s + (drum.bend - 1) * 0.03 * -np.expm1(-time_s / 0.03))
    sound = drum.tone * np.sin(2 * np.pi * sweep) * np.exp(-time_s / drum.tone_s)
    noise = rng.standard_normal(time_s.size)
    for partial in _METAL if drum.metal else ():
        ring = np.sin(2 * np.pi * drum.hz * 10 * partial * time_s + rng.uniform(0, 6.3))
        noise += drum.metal * ring
    fade = np.exp(-time_s / drum.noise_s)
    for burst in range(1, drum.bursts):
        late = np.maximum(time_s - 0.011 * burst, 0.0)
        fade = np.where(time_s < 0.011 * burst, fade, np.exp(-late / drum.noise_s))
    band = butter(1, (drum.low_hz, drum.high_hz), "bandpass", fs=SAMPLE_RATE, output="sos")
    sound = sound + drum.noise * sosfilt(band, noise * fade)
    return np.asarray(sound / (np.abs(sound).max() + 1e-9), dtype=np.float64)
