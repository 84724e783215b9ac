"""Note synthesis: renders one note of a timbre at a pitch (additive, FM, mallet, plucked string).

`mixdown` calls `render_note` once for every different note of a track and sums the results.
"""

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.synthesis import SAMPLE_RATE
from chorale.datasets.synthesis.timbres import Timbre

Signal = NDArray[np.float64]

_TABLE_SIZE = 2048
_VIBRATO_HZ = 5.5
_FULL_ATTACK = 40
"""exp of minus this is nothing beside 1."""
_MALLET_PARTIALS = ((1.0, 1.0, 1.0), (1.0, 0.35, 0.4), (2.6, 0.15, 0.2))
"""(multiple of the timbre's ratio or 1, amplitude, decay relative to the first partial)."""


def render_note(
    timbre: Timbre, hz: float, duration_s: float, *, bend: float, rng: np.random.Generator
) -> Signal:
    """One note, from its attack to the end of its release; its peak is near 1.

    Args:
        timbre: the instrument.
        hz: the pitch.
        duration_s: time until the note's release.
        bend: semitones below the pitch from which the note slides up to it.
        rng: random generator of phases and noise.
    """
    n_samples = max(64, int((duration_s + 5 * timbre.release_s) * SAMPLE_RATE))
    if timbre.engine == "pluck":
        tone = _pluck(timbre, hz, n_samples, rng)
    else:
        cycles = _phase(timbre, hz, n_samples, bend=bend, rng=rng)
        if timbre.engine == "table":
            tone = _table(timbre, hz, cycles, rng)
        elif timbre.engine == "fm":
            tone = _fm(timbre, hz, cycles)
        else:
            tone = _mallet(timbre, hz, cycles)
    if timbre.breath:
        tone += timbre.breath * rng.standard_normal(n_samples)
    return tone * _envelope(timbre, duration_s, n_samples)


def _phase(
    timbre: Timbre, hz: float, n_samples: int, *, bend: float, rng: np.random.Generator
) -> Signal:
    """Phase of the fundamental in cycles since the onset, with slide and vibrato."""
    time_s = np.arange(n_samples) / SAMPLE_RATE
    start = rng.uniform()
    if not bend and not timbre.vibrato_cents:
        return start + hz * time_s
    cents = -100 * bend * np.exp(-time_s / 0.07)
    if timbre.vibrato_cents:
        onset = 1 - np.exp(-time_s / 0.25)
        wave = np.sin(2 * np.pi * (_VIBRATO_HZ * time_s + rng.uniform()))
        cents += timbre.vibrato_cents * onset * wave
    cycles: Signal = start + np.cumsum(hz * np.exp2(cents / 1200)) / SAMPLE_RATE
    return cycles


def _table(timbre: Timbre, hz: float, cycles: Signal, rng: np.random.Generator) -> Signal:
    """Wavetable synthesis: one period of all harmonics is repeated, with decaying brightness."""
    harmonic = np.arange(1, max(2, min(48, int(0.45 * SAMPLE_RATE / hz))))
    amplitude = harmonic**-timbre.tilt * np.where(harmonic % 2 == 0, timbre.even, 1.0)
    for centre_hz in timbre.formants_hz:
        distance = (harmonic * hz - centre_hz) / (0.13 * centre_hz + 60)
        amplitude = amplitude * (0.55 + 3.0 * np.exp(-0.5 * distance**2))
    phases = np.exp(2j * np.pi * rng.uniform(size=harmonic.size) * 0.3)
    bright = _period(amplitude * phases)
    tone = _look_up(bright, cycles)
    if timbre.detune_cents:
        tone += _look_up(bright, cycles * 2 ** (timbre.detune_cents / 1200))
    if timbre.dull_tilt:
        dull = _look_up(_period(amplitude * harmonic**-timbre.dull_tilt * phases), cycles)
        fade = np.exp(-np.arange(cycles.size) / (timbre.dull_s * SAMPLE_RATE))
        tone = dull + fade * (tone - dull)
    return tone


def _period(harmonics: NDArray[np.complex128]) -> Signal:
    spectrum = np.zeros(_TABLE_SIZE // 2 + 1, complex)
    spectrum[1 : harmonics.size + 1] = harmonics
    period = np.fft.irfft(spectrum)
    return np.asarray(period / np.abs(period).max(), dtype=np.float64)


def _look_up(period: Signal, cycles: Signal) -> Signal:
    place = (cycles - np.floor(cycles)) * _TABLE_SIZE
    left = place.astype(np.intp)
    slope = np.diff(period, append=period[0])
    found: Signal = period[left] + (place - left) * slope[left]
    return found


def _fm(timbre: Timbre, hz: float, cycles: Signal) -> Signal:
    """Frequency modulation. Source: Chowning 1973, J. Audio Eng. Soc. 21(7)."""
    depth = timbre.index * np.exp(-np.arange(cycles.size) / (timbre.dull_s * SAMPLE_RATE))
    if hz * timbre.ratio > 0.3 * SAMPLE_RATE:
        depth = depth * 0.2
    modulator = depth * np.sin(2 * np.pi * timbre.ratio * cycles)
    tone: Signal = np.sin(2 * np.pi * cycles + modulator)
    return tone


def _mallet(timbre: Timbre, hz: float, cycles: Signal) -> Signal:
    tone = np.zeros(cycles.size)
    time_s = np.arange(cycles.size) / SAMPLE_RATE
    for index, (multiple, amplitude, decay) in enumerate(_MALLET_PARTIALS):
        partial = multiple * timbre.ratio if index else 1.0
        if partial * hz < 0.45 * SAMPLE_RATE:
            fade = np.exp(-time_s * (1 / decay - 1) / timbre.decay_s)
            tone += amplitude * fade * np.sin(2 * np.pi * partial * cycles)
    return tone


def _pluck(timbre: Timbre, hz: float, n_samples: int, rng: np.random.Generator) -> Signal:
    """Plucked string: noise in a delay line with a low-pass filter in its feedback loop.

    Source: Karplus and Strong 1983, "Digital synthesis of plucked-string and drum timbres",
    Computer Music Journal 7(2); the delay's fraction as in Jaffe and Smith 1983, same issue.
    """
    delay = SAMPLE_RATE / hz - timbre.damping
    n_delay = int(delay)
    fraction = delay - n_delay
    # the averaging filter and the fractional delay are two taps each: three taps together
    low, high = timbre.damping, 1 - timbre.damping
    loss = 10 ** (-3 / (hz * 2.5 * timbre.decay_s))
    taps = loss * np.array(
        [high * (1 - fraction), high * fraction + low * (1 - fraction), low * fraction]
    )
    line = np.zeros(n_samples + 2 * n_delay + 4)
    burst = rng.standard_normal(n_delay)
    first = n_delay + 2
    line[first : first + n_delay] = burst - burst.mean()
    for at in range(first + n_delay, line.size, n_delay):
        stop = min(at + n_delay, line.size)
        back = at - n_delay
        width = stop - at
        line[at:stop] = (
            taps[0] * line[back : back + width]
            + taps[1] * line[back - 1 : back - 1 + width]
            + taps[2] * line[back - 2 : back - 2 + width]
        )
    tone = line[first : first + n_samples]
    return np.asarray(tone / (np.abs(tone).max() + 1e-9), dtype=np.float64)


def _envelope(timbre: Timbre, duration_s: float, n_samples: int) -> Signal:
    time_s = np.arange(n_samples) / SAMPLE_RATE
    envelope: Signal = timbre.sustain + (1 - timbre.sustain) * np.exp(-time_s / timbre.decay_s)
    # where a factor is exactly 1 it is not computed
    attack = time_s[: int(_FULL_ATTACK / 3 * timbre.attack_s * SAMPLE_RATE) + 1]
    envelope[: attack.size] *= -np.expm1(-3 * attack / timbre.attack_s)
    release = time_s[np.searchsorted(time_s, duration_s) :] - duration_s
    envelope[n_samples - release.size :] *= np.exp(-release / timbre.release_s)
    return envelope
