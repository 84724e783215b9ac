"""Rhythm patterns as one bar of characters, and the clock that converts beats to seconds.

`genres` states its patterns in this notation, `parts` parses them.
"""

import math
from dataclasses import dataclass

REST, EXTEND = ".", "-"
VELOCITIES = {"X": 1.0, "x": 0.8, "o": 0.45}
"""Velocity of a hit from 0 to 1; every other character has `DEFAULT_VELOCITY`."""
DEFAULT_VELOCITY = 0.8


@dataclass(frozen=True)
class Hit:
    """One character of a pattern: its start in the bar and its length, in beats."""

    symbol: str
    beat: float
    length: float
    velocity: float


def parse_pattern(pattern: str, *, beats: int) -> tuple[Hit, ...]:
    """Parses one bar: "." is a rest, "-" extends the previous note, all else is a hit.

    Args:
        pattern: any number of characters, spaces ignored; they divide the bar evenly, so that 16 in
            a bar of four beats are sixteenths and 12 are triplets.
        beats: the bar's length.
    """
    steps = pattern.replace(" ", "")
    step = beats / len(steps) if steps else 0.0
    hits = []
    for index, symbol in enumerate(steps):
        if symbol in (REST, EXTEND):
            continue
        tail = steps[index + 1 :]
        n_extensions = len(tail) - len(tail.lstrip(EXTEND))
        velocity = VELOCITIES.get(symbol, DEFAULT_VELOCITY)
        hits.append(Hit(symbol, index * step, (1 + n_extensions) * step, velocity))
    return tuple(hits)


@dataclass(frozen=True)
class Clock:
    """Converts beats to seconds, with swing and rubato.

    `swing` is the position of the second note of each pair, from 0.5 (straight) to 0.67 (triplets)
    and beyond; a pair is `pair` beats long. `rubato` is the relative tempo variation with a period
    of eight beats.
    """

    tempo_bpm: float
    swing: float = 0.5
    pair: float = 1.0
    rubato: float = 0.0

    def seconds(self, beat: float) -> float:
        """The time of a beat from the start of the piece; monotonic in `beat`."""
        whole = math.floor(beat / self.pair)
        part = beat / self.pair - whole
        if part < 0.5:
            part *= 2 * self.swing
        else:
            part = self.swing + (part - 0.5) * 2 * (1 - self.swing)
        swung = (whole + part) * self.pair
        sway = self.rubato * math.sin(2 * math.pi * swung / 8) * 8 / (2 * math.pi)
        return (swung + sway) * 60 / self.tempo_bpm
