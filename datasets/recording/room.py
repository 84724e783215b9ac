"""Rooms, noise and levels: what happens to a recording before it is encoded."""

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]


def in_room(
    waveform: Float32Array, sample_rate: int, reverberation_s: float, rng: np.random.Generator
) -> Float32Array:
    """The waveform in a room of that reverberation time (RT60), at the level it had; as long.

    The room's impulse response is a direct sound, and white noise that decays by 60 dB in
    `reverberation_s` and has the same energy as the direct sound: a microphone at the critical
    distance.

    Source: Moorer 1979, "About This Reverberation Business", Computer Music Journal 3(2),
    doi:10.2307/3680280; Polack 1988 for the statistical model.
    """
    from scipy.signal import oaconvolve

    n = max(1, round(reverberation_s * sample_rate))
    tail = rng.standard_normal(n) * 10 ** (-3 * np.arange(n) / n)
    tail /= np.sqrt(np.sum(tail**2))
    tail[0] += 1.0
    wet = oaconvolve(waveform, tail)[: len(waveform)]
    return _at_level_of(wet, waveform)


def with_noise(waveform: Float32Array, snr_db: float, rng: np.random.Generator) -> Float32Array:
    """The waveform with white noise at a signal-to-noise ratio in dB, over the whole recording."""
    level = float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64))))
    noise = rng.standard_normal(len(waveform)) * level * 10 ** (-snr_db / 20)
    return np.asarray(waveform + noise, np.float32)


def clipped(waveform: Float32Array, share: float) -> Float32Array:
    """The waveform with the largest `share` of its samples clipped, as of an overdriven input."""
    limit = float(np.quantile(np.abs(waveform), 1.0 - share))
    return np.clip(waveform, -limit, limit)


def middle(waveform: Float32Array, sample_rate: int, seconds: float) -> Float32Array:
    """The middle `seconds` of a waveform; all of one that is no longer."""
    n = max(1, round(seconds * sample_rate))
    start = max(0, (len(waveform) - n) // 2)
    return waveform[start : start + n]


def _at_level_of(made: npt.NDArray[np.float64], waveform: Float32Array) -> Float32Array:
    """`made` with the root mean square of `waveform`, below full scale."""
    before = float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64))))
    after = float(np.sqrt(np.mean(np.square(made))))
    scaled = made * (before / after if after > 0 else 1.0)
    return np.asarray(scaled / max(1.0, float(np.abs(scaled).max())), np.float32)
