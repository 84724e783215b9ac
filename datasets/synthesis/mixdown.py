"""Mixdown: renders a score with an artist's instruments and mixes the parts to samples.

The last step of the generation of a track.
"""

from collections.abc import Sequence

import numpy as np
from scipy.signal import butter, sosfilt

from chorale.datasets.synthesis import SAMPLE_RATE, effects, percussion, scales, voices
from chorale.datasets.synthesis.artists import Artist, MixerSettings
from chorale.datasets.synthesis.parts import Note
from chorale.datasets.synthesis.piece import Score
from chorale.datasets.synthesis.voices import Signal

PEAK = 0.95
"""Maximum absolute sample of a track."""
_LENGTHS_S = 0.03
"""Note lengths are rounded to multiples of this, so that most notes are rendered only once."""


PARTS = ("drums", "bass", "chords", "lead")


def mix_track(artist: Artist, score: Score, clip_s: float, rng: np.random.Generator) -> Signal:
    """The rendered excerpt, (clip_s * SAMPLE_RATE,), from -PEAK to PEAK."""
    n_lead_in = int(score.lead_in_s * SAMPLE_RATE)
    n_samples = n_lead_in + round(clip_s * SAMPLE_RATE)
    total = np.zeros(n_samples)
    for stem in render_stems(artist, score, n_samples, rng, parts=PARTS).values():
        total += stem
    return master(artist.mixer, total, n_lead_in, rng)


def render_stems(
    artist: Artist, score: Score, n_samples: int, rng: np.random.Generator, *, parts: Sequence[str]
) -> dict[str, Signal]:
    """Part -> its samples at its level in the mix, (n_samples,), from the lead-in on.

    `parts` are names in the score and in the mixer; one without notes is left out.
    """
    stems: dict[str, Signal] = {}
    for part in parts:
        notes = [note for note in score.notes if note.part == part]
        if not notes:
            continue
        bus = _bus(artist, score, notes, n_samples=n_samples, rng=rng)
        if part in artist.timbres:
            bus = effects.saturate(bus, artist.timbres[part].drive)
        peak = np.abs(bus).max()
        if peak > 0:
            stems[part] = bus / peak * 10 ** (artist.mixer.levels_db[part] / 20)
    return stems


def _bus(
    artist: Artist,
    score: Score,
    notes: list[Note],
    *,
    n_samples: int,
    rng: np.random.Generator,
) -> Signal:
    """The sum of all notes of one part; it starts with the lead-in."""
    bus = np.zeros(n_samples)
    played: dict[tuple[str, float, int, float], Signal] = {}
    for note in notes:
        start_s = score.clock.seconds(note.beat)
        length_s = score.clock.seconds(note.beat + note.length) - start_s
        late_s = note.late_s + artist.timing_spread_s * rng.normal()
        at = int((start_s - score.start_s + score.lead_in_s + late_s) * SAMPLE_RATE)
        if not 0 <= at < n_samples:
            continue
        steps = 0 if note.drum else max(1, round(length_s / _LENGTHS_S))
        key = (note.drum, note.pitch, steps, round(note.bend, 1))
        if key not in played:
            played[key] = _sound(artist, note, length_s=steps * _LENGTHS_S, rng=rng)
        sound = played[key][: n_samples - at]
        bus[at : at + sound.size] += note.velocity**1.5 * sound
    return bus


def _sound(artist: Artist, note: Note, *, length_s: float, rng: np.random.Generator) -> Signal:
    if note.drum:
        return percussion.drum_hit(artist.kit[note.drum], rng)
    hz = scales.frequency_hz(note.pitch)
    return voices.render_note(artist.timbres[note.part], hz, length_s, bend=note.bend, rng=rng)


def master(mixer: MixerSettings, total: Signal, n_lead_in: int, rng: np.random.Generator) -> Signal:
    """The finished excerpt of a mix that begins with `n_lead_in` samples, from -PEAK to PEAK."""
    impulse = effects.room_impulse(mixer.room_s, mixer.room_damping, rng)
    sound = effects.compress_dynamics(total, mixer.compression)
    sound = effects.saturate(sound, mixer.saturation)
    sound += 10 ** (mixer.noise_db / 20) * rng.standard_normal(sound.size)
    sound = effects.apply_room_and_eq(
        sound, impulse=impulse, wet=mixer.wet, equaliser=mixer.equaliser
    )
    # an offset or inaudible rumble would reduce the loudness
    rumble = butter(1, 20, "high", fs=SAMPLE_RATE, output="sos")
    sound = np.asarray(sosfilt(rumble, sound))[n_lead_in:]
    sound *= 10 ** (mixer.loudness_db / 20) / np.sqrt(np.mean(sound**2))
    limited: Signal = PEAK * np.tanh(sound / PEAK)
    return limited
