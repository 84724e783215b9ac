"""Note generators of the four parts for one bar: drums, bass, chords and melody.

`piece` calls these bar by bar; `mixdown` renders the notes.
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
    """One note or drum hit; `beat` (from the start of the piece) and `length` are in beats.

    `pitch` is a MIDI note; `drum` is the name of the drum if the part is "drums".
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
    """Delay of the higher notes of a strum."""


@dataclass(frozen=True)
class ScoreBar:
    """Position and harmony of a bar."""

    start: float
    beats: int
    key: int
    chords: tuple[Chord, ...]
    following: Chord

    def chord_at(self, beat: float) -> Chord:
        """The chord that sounds at a beat of this bar."""
        return self.chords[min(len(self.chords) - 1, int(beat / self.beats * len(self.chords)))]


def drums(
    bar: ScoreBar, pattern: Mapping[str, str], *, fill: bool, rng: np.random.Generator
) -> list[Note]:
    """A bar of drums; with `fill`, its last beat is a fill on snare and toms."""
    notes = []
    last = bar.beats - 1
    for drum, steps in pattern.items():
        for hit in rhythm.parse_pattern(steps, beats=bar.beats):
            if rng.uniform() < 0.03 or (fill and hit.beat >= last and drum != "kick"):
                continue
            velocity = hit.velocity * rng.uniform(0.85, 1.1)
            notes.append(Note("drums", bar.start + hit.beat, hit.length, velocity, drum=drum))
    if fill:
        for hit in rhythm.parse_pattern(_FILL, beats=1):
            drum = "snare" if rng.uniform() < 0.5 else "tom"
            notes.append(
                Note("drums", bar.start + last + hit.beat, 0.25, hit.velocity * 0.8, drum=drum)
            )
    return notes


def bass(bar: ScoreBar, pattern: str, *, centre: float, rng: np.random.Generator) -> list[Note]:
    """A bar of bass; the pattern's characters are degrees of the chord (see `Groove`)."""
    notes = []
    for hit in rhythm.parse_pattern(pattern, beats=bar.beats):
        chord = bar.chord_at(hit.beat)
        root = scales.nearest_pitch(bar.key + chord.root, centre=centre)
        if hit.symbol == "a":
            pitch = scales.nearest_pitch(bar.key + bar.following.root, centre=centre) - 1
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


def chords(bar: ScoreBar, pattern: str, *, centre: float, rng: np.random.Generator) -> list[Note]:
    """A bar of chords: struck, muted, as power chords or arpeggios."""
    notes = []
    for hit in rhythm.parse_pattern(pattern, beats=bar.beats):
        chord = bar.chord_at(hit.beat)
        voices: Sequence[int] = scales.voicing(chord, key=bar.key, centre=centre)
        length, velocity, strum_s = hit.length * 0.92, hit.velocity, rng.uniform(0.0, 0.014)
        if hit.symbol.isdigit():
            voices, velocity = [voices[(int(hit.symbol) - 1) % len(voices)]], 0.7
        elif hit.symbol in _DYADS:
            root = scales.nearest_pitch(bar.key + chord.root, centre=centre - 7)
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
    """A melody as steps on a scale, which are the same at each repetition."""

    ladder: tuple[int, ...]
    """The allowed notes, low to high."""
    steps: tuple[int, ...]
    slides: float

    def play(
        self, bar: ScoreBar, pattern: str, *, place: int, rng: np.random.Generator
    ) -> list[Note]:
        """A bar of the melody.

        Args:
            bar: the bar and its harmony; long notes and downbeats are chord tones.
            pattern: the rhythm.
            place: position in the steps; the same position gives the same notes.
            rng: random generator of slides and velocities.
        """
        notes = []
        rung = len(self.ladder) // 2
        for order, hit in enumerate(rhythm.parse_pattern(pattern, beats=bar.beats)):
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


def new_melody(
    ladder: Sequence[int], *, leaps: float, slides: float, rng: np.random.Generator
) -> Melody:
    """A random melody on the notes of `ladder`, with a share of `leaps` among its steps."""
    near = rng.choice((-2, -1, -1, 0, 1, 1, 2), size=32)
    wide = rng.integers(-5, 6, size=32)
    steps = np.where(rng.uniform(size=32) < leaps, wide, near)
    return Melody(tuple(ladder), tuple(int(step) for step in steps), slides)


def _reflect(rung: int, n_rungs: int) -> int:
    """Reflects the index at both ends of the scale."""
    if rung < 0:
        rung = -rung
    if rung >= n_rungs:
        rung = 2 * (n_rungs - 1) - rung
    return max(0, min(n_rungs - 1, rung))


def _lean(pitch: int, chord: Chord, *, key: int) -> int:
    """The chord tone nearest to `pitch`."""
    tones = [scales.nearest_pitch(key + chord.root + tone, centre=pitch) for tone in chord.tones]
    return min(tones, key=lambda tone: abs(tone - pitch))
