"""Pitch classes over time from the constant-Q transform, and where they lie in tonal space.

`datasets.features.stats518` takes statistics of them.

Source: McFee et al., 2015 (librosa 0.11), https://doi.org/10.25080/Majora-7b98e3ed-003.
"""

from functools import lru_cache

import numpy as np
import scipy.ndimage

from chorale.datasets.dsp.mel_spectrogram import Floats

_QUANTA = (0.4, 0.2, 0.1, 0.05)  # a share above each of them counts a quarter
_SMOOTHED_FRAMES = 41
_TINY = np.finfo(np.float32).tiny


def folded(semitones: Floats) -> Floats:
    """Octaves from C to B folded into one: `(n_frames, 12 * n_octaves)` -> `(n_frames, 12)`."""
    return np.asarray(semitones.reshape(len(semitones), -1, 12).sum(axis=1))


def by_peak(chroma: Floats) -> Floats:
    """Each frame's strongest pitch class becomes 1; silence stays 0."""
    return chroma / _safe(np.abs(chroma).max(axis=1, keepdims=True))


def cens(chroma: Floats) -> Floats:
    """Energy normalised, quantised and smoothed: `(n_frames, 12)`, of length 1 in each frame.

    Source: Müller and Ewert, "Chroma Toolbox: MATLAB implementations for extracting variants of
    chroma-based audio features", 2011 (`librosa.feature.chroma_cens`).
    """
    shares = chroma / _safe(np.abs(chroma).sum(axis=1, keepdims=True))
    quarters = sum((shares > quantum).astype(np.float32) for quantum in _QUANTA)
    smooth = scipy.ndimage.convolve1d(quarters * np.float32(0.25), _hann(), axis=0, mode="constant")
    return np.asarray(smooth / _safe(np.sqrt(np.square(smooth).sum(axis=1, keepdims=True))))


def tonnetz(chroma: Floats) -> Floats:
    """Where the sound lies among fifths, minor and major thirds: `(n_frames, 6)`.

    Source: Harte, Sandler and Gasser, "Detecting harmonic change in musical audio", 2006,
    https://doi.org/10.1145/1178723.1178727 (`librosa.feature.tonnetz`).
    """
    steps = np.multiply.outer([7 / 6, 7 / 6, 3 / 2, 3 / 2, 2 / 3, 2 / 3], np.arange(12.0))
    steps[::2] -= 0.5  # a sine beside each cosine
    radii = np.array([1, 1, 1, 1, 0.5, 0.5])
    axes = radii[:, np.newaxis] * np.cos(np.pi * steps)
    shares = chroma / _safe(np.abs(chroma).sum(axis=1, keepdims=True))
    return np.asarray(shares @ axes.T)


def _safe(norm: Floats) -> Floats:
    return np.where(norm < _TINY, np.float32(1), norm)


@lru_cache(maxsize=1)
def _hann() -> Floats:
    """Hann's window, symmetric, of sum 1."""
    inside = np.arange(_SMOOTHED_FRAMES + 2) / (_SMOOTHED_FRAMES + 1)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * inside)
    return np.asarray(window / window.sum())
