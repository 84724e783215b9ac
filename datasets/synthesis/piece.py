"""Score generation: writes a piece for an artist and selects the excerpt of a track.

A piece has sections with different parts; the excerpt starts anywhere, also within a bar.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chorale.datasets.synthesis import parts, scales
from chorale.datasets.synthesis.artists import Artist
from chorale.datasets.synthesis.grooves import Groove
from chorale.datasets.synthesis.parts import Note, ScoreBar
from chorale.datasets.synthesis.rhythm import Clock

SECTION_BARS = 8
PIECE_SECTIONS = (
    frozenset({"drums", "bass", "chords"}),
    frozenset({"drums", "bass", "chords", "lead"}),
    frozenset({"drums", "bass", "chords", "lead"}),
    frozenset({"bass", "chords", "lead"}),
    frozenset({"drums", "bass", "lead", "chords"}),
    frozenset({"drums", "bass", "chords", "lead"}),
)
"""Intro, verse, chorus, break, verse, chorus: which parts play."""
LEAD_IN_S = 4.0
"""Notes that began this long before the excerpt may still sound in it."""


@dataclass(frozen=True)
class Score:
    """The notes of one excerpt and the clock that converts beats to seconds."""

    notes: tuple[Note, ...]
    clock: Clock
    start_s: float
    """Start of the excerpt in the piece."""
    lead_in_s: float = LEAD_IN_S
    """How long before the excerpt its samples begin."""


@dataclass(frozen=True)
class Excerpt:
    """Where an excerpt is in its piece, and the rhythm of the piece."""

    groove: Groove
    clock: Clock
    start_s: float
    bars: range
    """The bars that sound in it, with the lead-in."""


def draw_excerpt(
    artist: Artist, clip_s: float, rng: np.random.Generator, *, lead_in_s: float = LEAD_IN_S
) -> Excerpt:
    """A random excerpt of `clip_s` of a random piece by `artist`."""
    genre = artist.genre
    groove = artist.groove
    if rng.uniform() > 0.75:
        groove = genre.grooves[int(rng.integers(len(genre.grooves)))]
    low, high = groove.swing
    tempo = artist.tempo_bpm * rng.normal(1, artist.tempo_spread)
    clock = Clock(
        tempo_bpm=float(np.clip(tempo, genre.tempo_bpm[0] * 0.93, genre.tempo_bpm[1] * 1.07)),
        swing=low + (high - low) * artist.swing,
        pair=groove.pair,
        rubato=genre.rubato * rng.uniform(0.3, 1),
    )
    bar_s = groove.beats * 60 / clock.tempo_bpm
    n_bars = max(len(PIECE_SECTIONS) * SECTION_BARS, int(2 * clip_s / bar_s) + 4)
    start_s = rng.uniform(0, n_bars * bar_s - clip_s - 2 * bar_s)
    first = max(0, int((start_s - lead_in_s) / bar_s) - 1)
    last = min(n_bars, int((start_s + clip_s) / bar_s) + 2)
    return Excerpt(groove, clock, start_s, range(first, last))


def write_score(artist: Artist, clip_s: float, rng: np.random.Generator) -> Score:
    """A random piece by `artist`, reduced to the notes of a random excerpt of `clip_s`."""
    excerpt = draw_excerpt(artist, clip_s, rng)
    notes = _bars(artist, excerpt.groove, excerpt.bars, rng)
    return Score(tuple(notes), excerpt.clock, excerpt.start_s)


def score_bar(
    number: int, groove: Groove, *, key: int, progression: Sequence[tuple[scales.Chord, ...]]
) -> ScoreBar:
    """The bar of this number, from 0, of a piece that repeats a progression."""
    return ScoreBar(
        start=float(number * groove.beats),
        beats=groove.beats,
        key=key,
        chords=progression[number % len(progression)],
        following=progression[(number + 1) % len(progression)][0],
    )


def _bars(artist: Artist, groove: Groove, bars: range, rng: np.random.Generator) -> list[Note]:
    genre = artist.genre
    key = int(rng.integers(12))

    def favourite(what: str, n_options: int) -> int:
        return artist.choice(what, n_options, rng)

    scale = scales.SCALES[genre.scales[favourite("scale", len(genre.scales))]]
    text = genre.progressions[favourite("progression", len(genre.progressions))]
    progression = scales.parse_progression(text)
    drums = groove.drums[favourite("drums", len(groove.drums))]
    bass = groove.bass[favourite("bass", len(groove.bass))]
    chords = groove.chords[favourite("chords", len(groove.chords))]
    rhythms = [groove.lead[favourite("lead", len(groove.lead))] for _ in range(2)]
    rests = rng.uniform(size=4) < genre.lead_rests
    registers = artist.registers
    ladder = scales.scale_notes(scale, key=key, centre=registers["lead"], reach=11)
    tune = parts.new_melody(ladder, leaps=genre.leaps, slides=genre.slides, rng=rng)
    notes: list[Note] = []
    for number in bars:
        bar = score_bar(number, groove, key=key, progression=progression)
        playing = (
            PIECE_SECTIONS[number // SECTION_BARS % len(PIECE_SECTIONS)] & artist.timbres.keys()
        )
        if artist.drums and "drums" in PIECE_SECTIONS[number // SECTION_BARS % len(PIECE_SECTIONS)]:
            fill = number % SECTION_BARS == SECTION_BARS - 1 and "snare" in drums
            notes += parts.drums(bar, drums, fill=fill, rng=rng)
        if "bass" in playing:
            notes += parts.bass(bar, bass, centre=registers["bass"], rng=rng)
        if "chords" in playing:
            notes += parts.chords(bar, chords, centre=registers["chords"], rng=rng)
        if "lead" in playing and not rests[number % 4]:
            place = 11 * (number % 2)
            notes += tune.play(bar, rhythms[number % 2], place=place, rng=rng)
    return notes
