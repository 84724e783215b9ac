"""Rhythms written as one bar of characters, and the clock that turns beats into seconds.

`genres` writes its patterns in this small language, `parts` reads them.
"""

import math
from dataclasses import dataclass

REST, HOLD = ".", "-"
VELOCITIES = {"X": 1.0, "x": 0.8, "o": 0.45}
"""Loudness of a hit from 0 to 1; every other character sounds at `DEFAULT_VELOCITY`."""
DEFAULT_VELOCITY = 0.8


@dataclass(frozen=True)
class Hit:
    """One character of a pattern: when it sounds and for how long, in beats from the bar line."""

    symbol: str
    beat: float
    length: float
    velocity: float


def read(pattern: str, *, beats: int) -> tuple[Hit, ...]:
    """Reads one bar: "." rests, "-" holds the note before it, all else is a hit; spaces are free.

    Args:
        pattern: any number of characters; they divide the bar evenly, so that 16 in a bar of four
            beats are sixteenths and 12 are triplets.
        beats: the bar's length.
    """
    steps = pattern.replace(" ", "")
    step = beats / len(steps) if steps else 0.0
    hits = []
    for index, symbol in enumerate(steps):
        if symbol in (REST, HOLD):
            continue
        tail = steps[index + 1 :]
        held = len(tail) - len(tail.lstrip(HOLD))
        velocity = VELOCITIES.get(symbol, DEFAULT_VELOCITY)
        hits.append(Hit(symbol, index * step, (1 + held) * step, velocity))
    return tuple(hits)


@dataclass(frozen=True)
class Clock:
    """Beats to seconds, with swing and rubato.

    `swing` is where the middle of each pair falls, from 0.5 (even) to 0.67 (triplets) and beyond;
    a pair is `pair` beats long. `rubato` is the share by which the tempo sways over eight beats.
    """

    tempo_bpm: float
    swing: float = 0.5
    pair: float = 1.0
    rubato: float = 0.0

    def seconds(self, beat: float) -> float:
        """When a beat sounds, counted from the start of the piece; monotonic in `beat`."""
        whole = math.floor(beat / self.pair)
        part = beat / self.pair - whole
        if part < 0.5:
            part *= 2 * self.swing
        else:
            part = self.swing + (part - 0.5) * 2 * (1 - self.swing)
        swung = (whole + part) * self.pair
        sway = self.rubato * math.sin(2 * math.pi * swung / 8) * 8 / (2 * math.pi)
        return (swung + sway) * 60 / self.tempo_bpm
