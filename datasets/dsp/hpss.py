"""Parts a waveform into what sounds on and what strikes: median filtering of its spectrogram.

`datasets.features.stats57` measures both parts.
"""

import numpy as np
import scipy.fft

from chorale.datasets.dsp.compiled import compiled, inlined
from chorale.datasets.dsp.mel_spectrogram import Floats, Spectrum, hann

KERNEL = 31  # frames or bins that a median looks at
_LANES = 128  # series that are filtered side by side: their sorted windows stay in a core's cache


def hpss(spectrum: Spectrum, *, hop_length: int, n_samples: int) -> tuple[Floats, Floats]:
    """The harmonic and the percussive part of a waveform, each float32 `(n_samples,)`.

    Args:
        spectrum: its short-time spectra, complex64 `(n_frames, 1 + n_fft // 2)`, frames centred,
            Hann's window.
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
    return inverse(parts[0], **sizes), inverse(parts[1], **sizes)


def running_median(values: Floats) -> Floats:
    """The median of `KERNEL` neighbours along the first axis of `(n, n_series)`; edges mirrored."""
    half = KERNEL // 2
    padded = np.pad(values, ((half, half), (0, 0)), mode="symmetric")
    medians = np.empty_like(values)
    _slide(padded, medians)
    return medians


def inverse(spectrum: Spectrum, *, hop_length: int, n_samples: int) -> Floats:
    """The waveform of short-time spectra, float32 `(n_samples,)`: overlapped, added, normalised.

    Source: Griffin and Lim, "Signal estimation from modified short-time Fourier transform", 1984,
    https://doi.org/10.1109/TASSP.1984.1164317; as `librosa.istft` does it.
    """
    n_frames, n_fft = len(spectrum), 2 * (spectrum.shape[1] - 1)
    window = hann(n_fft)
    total = np.zeros((n_frames - 1) * hop_length + n_fft, np.float32)
    weight = np.zeros_like(total)
    block = max(1, 2**18 // n_fft)  # as many as stay in a core's cache
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
def _slide(padded: Floats, medians: Floats) -> None:
    """Keeps the windows of many series sorted side by side: one value goes, another comes.

    A row of the sorted windows is made of itself and its neighbours alone, without a branch, so
    that the compiler works on as many series at once as a register holds.
    """
    n, n_series = medians.shape
    rows = np.empty((KERNEL + 2, _LANES), np.float32)
    fresh = np.empty((KERNEL + 2, _LANES), np.float32)
    for first in range(0, n_series, _LANES):
        width = min(_LANES, n_series - first)
        for lane in range(width):
            rows[1:-1, lane] = np.sort(padded[:KERNEL, first + lane])
        for edges in (rows, fresh):
            edges[0], edges[-1] = -np.inf, np.inf
        medians[0, first : first + width] = rows[1 + KERNEL // 2, :width]
        for t in range(1, n):
            goes = padded[t - 1, first : first + width]
            comes = padded[t - 1 + KERNEL, first : first + width]
            for i in range(1, KERNEL + 1):
                _step(rows[i - 1], rows[i], rows[i + 1], goes, comes, fresh[i])
            rows, fresh = fresh, rows
            medians[t, first : first + width] = rows[1 + KERNEL // 2, :width]


@inlined
def _step(
    below: Floats, here: Floats, above: Floats, goes: Floats, comes: Floats, fresh: Floats
) -> None:
    """One row of sorted windows after `goes` has left and `comes` has come."""
    for k in range(len(goes)):
        a, b, c, o, v = below[k], here[k], above[k], goes[k], comes[k]
        up = b if b < o else max(b, min(c, v))
        down = b if b > o else min(b, max(a, v))
        fresh[k] = up if v >= o else down


@compiled
def _mask(
    spectrum: Spectrum,
    harmonic: Floats,
    percussive: Floats,
    harmonic_part: Spectrum,
    percussive_part: Spectrum,
) -> None:
    """Gives each part its share of every bin, by the squares of the two medians."""
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
