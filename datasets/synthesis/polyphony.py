"""Polyphonic clips: one to four of ten instruments at once, by artists with their own sound.

The dataset `synthetic_polyphonic` labels them with their instruments. An artist plays in the style
of one genre with own timbres, tempo, levels and room, and prefers some instruments, so that a
classifier has to recognise an instrument in the sound of an artist that it never met.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from chorale.datasets.synthesis import SAMPLE_RATE, artists, corpus, mixdown, parts, piece, scales
from chorale.datasets.synthesis.artists import Artist
from chorale.datasets.synthesis.compose import genre_rules
from chorale.datasets.synthesis.grooves import Groove
from chorale.datasets.synthesis.instruments import INSTRUMENTS
from chorale.datasets.synthesis.parts import Note, ScoreBar
from chorale.datasets.synthesis.polyphonic_clips import Clip, Drawn, clip_generator
from chorale.datasets.synthesis.timbres import TIMBRES, timbre_variant
from chorale.datasets.synthesis.voices import Signal

TIMBRE_VARIATION = 0.45
"""How much an instrument differs between artists (see `timbre_variant`)."""
MIX_VARIATION = 0.5
"""How much kit, equaliser, room and noise differ between artists (see `draw_artist`)."""
LEVELS_DB = (-8.0, 0.0)
"""Range of an instrument's level in a clip, before the artist's own level."""
LEAD_IN_S = 1.5
"""Notes that began this long before the clip may still sound in it."""
N_LEAD_IN = round(LEAD_IN_S * SAMPLE_RATE)
AUDIBLE_DB = -30.0
"""Mean power that each instrument has at least in a clip, relative to the sum of all."""


@dataclass(frozen=True)
class ArtistSound:
    """An artist with all ten instruments: their sound, registers and own levels."""

    artist: Artist
    registers: Mapping[str, float]
    """Instrument -> the MIDI note around which it plays."""
    levels_db: Mapping[str, float]


def draw_sound(seed: int, artist: int) -> ArtistSound:
    """The artist of this number, from 0."""
    rng = clip_generator(seed, Drawn.ARTIST, artist)
    genres = corpus.genre_names()
    genre = genre_rules(genres[int(rng.integers(len(genres)))])
    base = artists.draw_artist(genre, rng, variation=MIX_VARIATION)
    timbres = {}
    registers, levels_db = {}, {}
    for name, instrument in INSTRUMENTS.items():
        if instrument.timbres:
            timbre = TIMBRES[instrument.timbres[int(rng.integers(len(instrument.timbres)))]]
            timbres[name] = timbre_variant(timbre, TIMBRE_VARIATION, rng)
        registers[name] = rng.uniform(*instrument.register)
        levels_db[name] = rng.uniform(-3, 3)
    return ArtistSound(dataclasses.replace(base, timbres=timbres), registers, levels_db)


def compose_clip(clip: Clip, *, seed: int, clip_s: float) -> Signal:
    """The samples of one clip, (clip_s * SAMPLE_RATE,), between -1 and 1.

    They depend on the arguments only.

    Args:
        clip: the artist and the number of the clip.
        seed: the corpus's seed.
        clip_s: length of the clip.
    """
    stems, performer, rng = _render(clip, seed, clip_s)
    total = np.sum(list(stems.values()), axis=0)
    return mixdown.master(performer.mixer, total, N_LEAD_IN, rng)


def clip_stems(clip: Clip, *, seed: int, clip_s: float) -> dict[str, Signal]:
    """Instrument -> its samples in the clip, (clip_s * SAMPLE_RATE,), before the mix is finished.

    That is before compression, saturation, noise, room and equaliser.
    """
    stems, _, _ = _render(clip, seed, clip_s)
    return {name: stem[N_LEAD_IN:] for name, stem in stems.items()}


def _render(
    clip: Clip, seed: int, clip_s: float
) -> tuple[dict[str, Signal], Artist, np.random.Generator]:
    """The stems of a clip, with lead-in; the piece is drawn until all of them are audible."""
    sound = draw_sound(seed, clip.artist)
    names = clip.instruments(seed)
    rng = clip_generator(seed, Drawn.PIECE, clip.artist, clip.number)
    n_samples = round((LEAD_IN_S + clip_s) * SAMPLE_RATE)
    while True:
        levels_db = {name: sound.levels_db[name] + rng.uniform(*LEVELS_DB) for name in names}
        mixer = dataclasses.replace(sound.artist.mixer, levels_db=levels_db)
        performer = dataclasses.replace(sound.artist, mixer=mixer)
        score = _write_score(sound, performer, names, clip_s, rng)
        stems = mixdown.render_stems(performer, score, n_samples, rng, parts=names)
        if _all_audible(stems, names):
            return stems, performer, rng


def _all_audible(stems: Mapping[str, Signal], names: Sequence[str]) -> bool:
    power = [
        float(np.mean(stems[name][N_LEAD_IN:] ** 2)) if name in stems else 0.0 for name in names
    ]
    return min(power) > 10 ** (AUDIBLE_DB / 10) * sum(power)


def _write_score(
    sound: ArtistSound,
    performer: Artist,
    names: Sequence[str],
    clip_s: float,
    rng: np.random.Generator,
) -> piece.Score:
    """A random piece for these instruments, reduced to the notes of an excerpt."""
    genre = performer.genre
    excerpt = piece.draw_excerpt(performer, clip_s, rng, lead_in_s=LEAD_IN_S)
    key = int(rng.integers(12))
    scale = scales.SCALES[genre.scales[performer.choice("scale", len(genre.scales), rng)]]
    which = performer.choice("progression", len(genre.progressions), rng)
    progression = scales.parse_progression(genre.progressions[which])
    bars = [
        piece.score_bar(n, excerpt.groove, key=key, progression=progression) for n in excerpt.bars
    ]
    notes: list[Note] = []
    for name in names:
        roles = INSTRUMENTS[name].roles
        role = roles[int(rng.integers(len(roles)))]
        written = _part(role, sound, name, excerpt.groove, bars, scale, rng)
        notes += [dataclasses.replace(note, part=name) for note in written]
    return piece.Score(tuple(notes), excerpt.clock, excerpt.start_s, LEAD_IN_S)


def _part(
    role: str,
    sound: ArtistSound,
    name: str,
    groove: Groove,
    bars: Sequence[ScoreBar],
    scale: Sequence[int],
    rng: np.random.Generator,
) -> list[Note]:
    """The notes of one instrument in the bars of an excerpt."""
    artist, centre = sound.artist, sound.registers[name]
    notes: list[Note] = []
    if role == "drums":
        pattern = groove.drums[artist.choice("drums", len(groove.drums), rng)]
        for bar in bars:
            notes += parts.drums(bar, pattern, fill=False, rng=rng)
    elif role == "bass":
        line = groove.bass[artist.choice("bass", len(groove.bass), rng)]
        for bar in bars:
            notes += parts.bass(bar, line, centre=centre, rng=rng)
    elif role == "chords":
        strokes = groove.chords[artist.choice("chords", len(groove.chords), rng)]
        for bar in bars:
            notes += parts.chords(bar, strokes, centre=centre, rng=rng)
    else:
        rhythms = [groove.lead[artist.choice("lead", len(groove.lead), rng)] for _ in range(2)]
        ladder = scales.scale_notes(scale, key=bars[0].key, centre=centre, reach=9)
        genre = artist.genre
        tune = parts.new_melody(ladder, leaps=genre.leaps, slides=genre.slides, rng=rng)
        for order, bar in enumerate(bars):
            notes += tune.play(bar, rhythms[order % 2], place=11 * (order % 2), rng=rng)
    return notes
