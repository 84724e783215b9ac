"""What each part of the band plays in one bar: drums, bass, chords and melody.

`piece` calls these bar by bar and hands the notes to `mixdown`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from chorale.datasets.synthesis import rhythm, scales
from chorale.datasets.synthesis.scales import Chord

_DEGREES = {"R": 0, "3": 1, "5": 2, "7": 3}
_DYADS = {"p": (0, 7), "q": (0, 9)}
_FILL = "xxXx"


@dataclass(frozen=True)
class Note:
    """One note or one stroke. `beat` and `length` are in beats from the start of the piece.

    `pitch` is a MIDI note; `drum` names the drum where the part is "drums".
    """

    part: str
    beat: float
    length: float
    velocity: float
    pitch: float = 0.0
    drum: str = ""
    bend: float = 0.0
    """Semitones below the pitch from which the note slides up."""
    late_s: float = 0.0
    """A strum reaches its higher strings later."""


@dataclass(frozen=True)
class Bar:
    """Where a bar stands and what sounds in it."""

    start: float
    beats: int
    key: int
    chords: tuple[Chord, ...]
    following: Chord

    def chord_at(self, beat: float) -> Chord:
        """The chord that sounds at a beat of this bar."""
        return self.chords[min(len(self.chords) - 1, int(beat / self.beats * len(self.chords)))]


def drums(
    bar: Bar, pattern: Mapping[str, str], *, fill: bool, rng: np.random.Generator
) -> list[Note]:
    """A bar of drums; with `fill`, its last beat rolls over the toms."""
    notes = []
    last = bar.beats - 1
    for drum, steps in pattern.items():
        for hit in rhythm.read(steps, beats=bar.beats):
            if rng.uniform() < 0.03 or (fill and hit.beat >= last and drum != "kick"):
                continue
            velocity = hit.velocity * rng.uniform(0.85, 1.1)
            notes.append(Note("drums", bar.start + hit.beat, hit.length, velocity, drum=drum))
    if fill:
        for hit in rhythm.read(_FILL, beats=1):
            drum = "snare" if rng.uniform() < 0.5 else "tom"
            notes.append(
                Note("drums", bar.start + last + hit.beat, 0.25, hit.velocity * 0.8, drum=drum)
            )
    return notes


def bass(bar: Bar, pattern: str, *, centre: float, rng: np.random.Generator) -> list[Note]:
    """A bar of bass; the pattern's characters are degrees of the chord (see `Groove`)."""
    notes = []
    for hit in rhythm.read(pattern, beats=bar.beats):
        chord = bar.chord_at(hit.beat)
        root = scales.nearest(bar.key + chord.root, centre=centre)
        if hit.symbol == "a":
            pitch = scales.nearest(bar.key + bar.following.root, centre=centre) - 1
        elif hit.symbol == "w":
            tone = 0 if hit.beat == 0 else int(rng.integers(len(chord.tones)))
            pitch = root + chord.tones[tone] - (12 if rng.uniform() < 0.3 and tone else 0)
            pitch += int(rng.integers(-1, 2)) if hit.beat >= bar.beats - 1 else 0
        elif hit.symbol == "8":
            pitch = root + 12
        else:
            pitch = root + chord.tones[_DEGREES.get(hit.symbol, 0) % len(chord.tones)]
        velocity = hit.velocity * rng.uniform(0.85, 1.0)
        notes.append(Note("bass", bar.start + hit.beat, hit.length * 0.9, velocity, pitch))
    return notes


def chords(bar: Bar, pattern: str, *, centre: float, rng: np.random.Generator) -> list[Note]:
    """A bar of chords: struck, muted, as power chords or one note after another."""
    notes = []
    for hit in rhythm.read(pattern, beats=bar.beats):
        chord = bar.chord_at(hit.beat)
        voices: Sequence[int] = scales.voicing(chord, key=bar.key, centre=centre)
        length, velocity, strum_s = hit.length * 0.92, hit.velocity, rng.uniform(0.0, 0.014)
        if hit.symbol.isdigit():
            voices, velocity = [voices[(int(hit.symbol) - 1) % len(voices)]], 0.7
        elif hit.symbol in _DYADS:
            root = scales.nearest(bar.key + chord.root, centre=centre - 7)
            voices, length = [root + step for step in _DYADS[hit.symbol]], hit.length * 0.6
        elif hit.symbol == "m":
            voices, length, velocity = voices[:2], min(0.12, hit.length * 0.5), 0.7
        elif hit.symbol == "u":
            voices, velocity = voices[::-1][:3], 0.5
        for order, pitch in enumerate(voices):
            loud = velocity * rng.uniform(0.9, 1.0)
            start = bar.start + hit.beat
            notes.append(Note("chords", start, length, loud, pitch, late_s=order * strum_s))
    return notes


@dataclass(frozen=True)
class Melody:
    """What stays the same whenever a tune comes back: its steps on the scale."""

    ladder: tuple[int, ...]
    """The notes it may use, low to high."""
    steps: tuple[int, ...]
    slides: float

    def play(self, bar: Bar, pattern: str, *, place: int, rng: np.random.Generator) -> list[Note]:
        """A bar of the tune.

        Args:
            bar: the bar and its harmony; long notes and downbeats lean on the chord.
            pattern: the rhythm.
            place: where the tune is in its steps; the same place gives the same notes.
            rng: gives slides and touch.
        """
        notes = []
        rung = len(self.ladder) // 2
        for order, hit in enumerate(rhythm.read(pattern, beats=bar.beats)):
            rung += self.steps[(place + order) % len(self.steps)]
            rung = _reflect(rung, len(self.ladder))
            pitch = self.ladder[rung]
            if hit.beat % 1 == 0 and (hit.beat == 0 or hit.length >= 0.75):
                pitch = _lean(pitch, bar.chord_at(hit.beat), key=bar.key)
            bend = rng.uniform(0.8, 2.2) if rng.uniform() < self.slides else 0.0
            velocity = hit.velocity * rng.uniform(0.8, 1.0)
            start = bar.start + hit.beat
            notes.append(Note("lead", start, hit.length * 0.9, velocity, pitch, bend=bend))
        return notes


def melody(
    ladder: Sequence[int], *, leaps: float, slides: float, rng: np.random.Generator
) -> Melody:
    """A new tune on the notes of `ladder`, with a share of `leaps` among its steps."""
    near = rng.choice((-2, -1, -1, 0, 1, 1, 2), size=32)
    wide = rng.integers(-5, 6, size=32)
    steps = np.where(rng.uniform(size=32) < leaps, wide, near)
    return Melody(tuple(ladder), tuple(int(step) for step in steps), slides)


def _reflect(rung: int, n_rungs: int) -> int:
    """Turns a walk round at both ends of the ladder."""
    if rung < 0:
        rung = -rung
    if rung >= n_rungs:
        rung = 2 * (n_rungs - 1) - rung
    return max(0, min(n_rungs - 1, rung))


def _lean(pitch: int, chord: Chord, *, key: int) -> int:
    """The chord tone nearest to `pitch`."""
    tones = [scales.nearest(key + chord.root + tone, centre=pitch) for tone in chord.tones]
    return min(tones, key=lambda tone: abs(tone - pitch))
