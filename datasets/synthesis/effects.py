"""Audio effects: equaliser, soft clipping, room reverb, dynamic range compression.

`mixdown` applies them with the settings of the artist's mixer.
"""

from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import lfilter

from chorale.datasets.synthesis import SAMPLE_RATE
from chorale.datasets.synthesis.voices import Signal


@dataclass(frozen=True)
class Equaliser:
    """An equaliser: a tilt, a few bumps, and both ends cut by 12 dB per octave."""

    tilt_db: float
    """Change per octave above 700 Hz."""
    bumps: tuple[tuple[float, float, float], ...]
    """Each a centre in Hz, a gain in dB and a width in octaves."""
    low_cut_hz: float
    high_cut_hz: float

    def gain(self, hz: Signal) -> Signal:
        """The factor for each of the frequencies `hz`, (n_bins,)."""
        octave = np.log2(np.maximum(hz, 20.0) / 700)
        gain_db = self.tilt_db * octave
        for centre_hz, bump_db, width in self.bumps:
            distance = (octave - np.log2(centre_hz / 700)) / width
            gain_db = gain_db + bump_db * np.exp(-0.5 * distance**2)
        low = 1 + (self.low_cut_hz / np.maximum(hz, 1.0)) ** 4
        high = 1 + (hz / self.high_cut_hz) ** 4
        gain: Signal = 10 ** (gain_db / 20) / np.sqrt(low * high)
        return gain


def room_impulse(decay_s: float, damping: float, rng: np.random.Generator) -> Signal:
    """The impulse response of a room: noise that decays by 60 dB in `decay_s`, of energy 1.

    `damping`, 0 to 1, is how much its high frequencies are attenuated.
    """
    n_samples = int(decay_s * SAMPLE_RATE)
    time_s = np.arange(n_samples) / SAMPLE_RATE
    noise = rng.standard_normal(n_samples) * np.exp(-6.9 * time_s / decay_s)
    noise[: int(0.008 * SAMPLE_RATE)] = 0.0
    dull = lfilter([1 - damping], [1, -damping], noise)
    return np.asarray(dull / np.sqrt(np.sum(dull**2)), dtype=np.float64)


def apply_room_and_eq(
    signal: Signal, *, impulse: Signal, wet: float, equaliser: Equaliser
) -> Signal:
    """Room and equaliser in one pass in the frequency domain; as long as `signal`."""
    size = next_fast_len(signal.size + impulse.size, real=True)
    spectrum = rfft(signal, size) * (1 + wet * rfft(impulse, size))
    hz = np.arange(spectrum.size) * (SAMPLE_RATE / size)
    return np.asarray(irfft(spectrum * equaliser.gain(hz), size)[: signal.size], dtype=np.float64)


def saturate(signal: Signal, amount: float) -> Signal:
    """Soft clipping; 0 does not change the signal, 40 is fuzz. Keeps the peak."""
    peak = np.abs(signal).max()
    if not amount or not peak:
        return signal
    clipped: Signal = np.tanh(amount * signal / peak) / np.tanh(amount) * peak
    return clipped


def compress_dynamics(signal: Signal, amount: float, *, time_s: float = 0.05) -> Signal:
    """Dynamic range compression: 0 does not change the signal, 1 makes its level constant."""
    keep = np.exp(-1 / (time_s * SAMPLE_RATE))
    power = lfilter([1 - keep], [1, -keep], signal**2)
    reference = np.sqrt(np.mean(signal**2)) + 1e-9
    level = np.sqrt(np.maximum(power, 0.0)) + 0.05 * reference
    evened: Signal = signal * (reference / level) ** amount
    return evened
