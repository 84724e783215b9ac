"""Harmonic/percussive source separation (HPSS) by median filtering of a spectrogram.

`datasets.features.stats57` computes statistics of both parts.
"""

import numpy as np
import scipy.fft

from chorale.datasets.dsp.compiled import compiled, inlined
from chorale.datasets.dsp.mel_spectrogram import Float32Array, Spectrum, hann_window

KERNEL_SIZE = 31  # frames or bins in a median
_LANES = 128  # series filtered in parallel: their sorted windows fit in a core's cache


def hpss(
    spectrum: Spectrum, *, hop_length: int, n_samples: int
) -> tuple[Float32Array, Float32Array]:
    """The harmonic and the percussive part of a waveform, each float32 `(n_samples,)`.

    Args:
        spectrum: its short-time spectra, complex64 `(n_frames, 1 + n_fft // 2)`, frames centred,
            Hann window.
        hop_length: samples from one frame to the next.
        n_samples: of the waveform.

    Source: Fitzgerald, "Harmonic/Percussive Separation using Median Filtering", 2010,
    https://arrow.tudublin.ie/argcon/67/; as `librosa.effects.hpss` does it with its defaults.
    """
    magnitude = np.abs(spectrum)
    harmonic = running_median(magnitude)
    percussive = np.ascontiguousarray(running_median(np.ascontiguousarray(magnitude.T)).T)
    parts = (np.empty_like(spectrum), np.empty_like(spectrum))
    _mask(spectrum, harmonic, percussive, *parts)
    sizes = {"hop_length": hop_length, "n_samples": n_samples}
    return istft(parts[0], **sizes), istft(parts[1], **sizes)


def running_median(values: Float32Array) -> Float32Array:
    """Running median of `KERNEL_SIZE` along the first axis of `(n, n_series)`; edges mirrored."""
    half = KERNEL_SIZE // 2
    padded = np.pad(values, ((half, half), (0, 0)), mode="symmetric")
    medians = np.empty_like(values)
    _slide(padded, medians)
    return medians


def istft(spectrum: Spectrum, *, hop_length: int, n_samples: int) -> Float32Array:
    """Inverse STFT by overlap-add, normalised by the window: float32 `(n_samples,)`.

    Source: Griffin and Lim, "Signal estimation from modified short-time Fourier transform", 1984,
    https://doi.org/10.1109/TASSP.1984.1164317; as `librosa.istft` does it.
    """
    n_frames, n_fft = len(spectrum), 2 * (spectrum.shape[1] - 1)
    window = hann_window(n_fft)
    total = np.zeros((n_frames - 1) * hop_length + n_fft, np.float32)
    weight = np.zeros_like(total)
    block = max(1, 2**18 // n_fft)  # as many as fit in a core's cache
    for start in range(0, n_frames, block):
        frames = scipy.fft.irfft(spectrum[start : start + block], n=n_fft, axis=1)
        frames *= window
        for i, frame in enumerate(frames, start):
            total[i * hop_length : i * hop_length + n_fft] += frame
    for i in range(n_frames):
        weight[i * hop_length : i * hop_length + n_fft] += window**2
    inside = slice(n_fft // 2, n_fft // 2 + n_samples)
    total, weight = total[inside], weight[inside]
    waveform = np.zeros(n_samples, np.float32)
    np.divide(total, weight, out=waveform[: len(total)], where=weight > np.finfo(np.float32).tiny)
    return waveform


@compiled
def _slide(padded: Float32Array, medians: Float32Array) -> None:
    """Running medians: keeps the sorted windows of many series, replacing one value per step.

    A row of the sorted windows depends only on itself and its two neighbours, without a branch, so
    that the compiler vectorises over the series.
    """
    n, n_series = medians.shape
    rows = np.empty((KERNEL_SIZE + 2, _LANES), np.float32)
    fresh = np.empty((KERNEL_SIZE + 2, _LANES), np.float32)
    for first in range(0, n_series, _LANES):
        width = min(_LANES, n_series - first)
        for lane in range(width):
            rows[1:-1, lane] = np.sort(padded[:KERNEL_SIZE, first + lane])
        for edges in (rows, fresh):
            edges[0], edges[-1] = -np.inf, np.inf
        medians[0, first : first + width] = rows[1 + KERNEL_SIZE // 2, :width]
        for t in range(1, n):
            old = padded[t - 1, first : first + width]
            new = padded[t - 1 + KERNEL_SIZE, first : first + width]
            for i in range(1, KERNEL_SIZE + 1):
                _step(rows[i - 1], rows[i], rows[i + 1], old, new, fresh[i])
            rows, fresh = fresh, rows
            medians[t, first : first + width] = rows[1 + KERNEL_SIZE // 2, :width]


@inlined
def _step(
    below: Float32Array,
    here: Float32Array,
    above: Float32Array,
    old: Float32Array,
    new: Float32Array,
    fresh: Float32Array,
) -> None:
    """One row of the sorted windows after `old` is replaced by `new`."""
    for k in range(len(old)):
        a, b, c, o, v = below[k], here[k], above[k], old[k], new[k]
        up = b if b < o else max(b, min(c, v))
        down = b if b > o else min(b, max(a, v))
        fresh[k] = up if v >= o else down


@compiled
def _mask(
    spectrum: Spectrum,
    harmonic: Float32Array,
    percussive: Float32Array,
    harmonic_part: Spectrum,
    percussive_part: Spectrum,
) -> None:
    """Soft masks: splits every bin in proportion to the squares of the two medians."""
    tiny = np.float32(np.finfo(np.float32).tiny)
    for i in range(spectrum.shape[0]):
        for k in range(spectrum.shape[1]):
            larger = max(harmonic[i, k], percussive[i, k])
            h, p = np.float32(0.5), np.float32(0.5)
            if larger >= tiny:
                h, p = (harmonic[i, k] / larger) ** 2, (percussive[i, k] / larger) ** 2
                h, p = h / (h + p), p / (h + p)
            harmonic_part[i, k] = spectrum[i, k] * h
            percussive_part[i, k] = spectrum[i, k] * p
