"""Chroma features: pitch classes from the constant-Q transform, CENS and tonnetz.

`datasets.features.stats518` computes statistics of them.

Source: McFee et al., 2015 (librosa 0.11), https://doi.org/10.25080/Majora-7b98e3ed-003.
"""

from functools import lru_cache

import numpy as np
import scipy.ndimage

from chorale.datasets.dsp.mel_spectrogram import Float32Array

_QUANTA = (0.4, 0.2, 0.1, 0.05)  # thresholds; each one that is exceeded adds a quarter
_SMOOTHED_FRAMES = 41
_TINY = np.finfo(np.float32).tiny


def fold_octaves(semitones: Float32Array) -> Float32Array:
    """Sums octaves (from C to B) to one: `(n_frames, 12 * n_octaves)` -> `(n_frames, 12)`."""
    return np.asarray(semitones.reshape(len(semitones), -1, 12).sum(axis=1))


def peak_normalized(chroma: Float32Array) -> Float32Array:
    """Normalises each frame's strongest pitch class to 1; silence stays 0."""
    return chroma / _safe(np.abs(chroma).max(axis=1, keepdims=True))


def cens(chroma: Float32Array) -> Float32Array:
    """CENS: chroma energy normalised, quantised and smoothed, `(n_frames, 12)`, frames of norm 1.

    Source: Müller and Ewert, "Chroma Toolbox: MATLAB implementations for extracting variants of
    chroma-based audio features", 2011 (`librosa.feature.chroma_cens`).
    """
    shares = chroma / _safe(np.abs(chroma).sum(axis=1, keepdims=True))
    quarters = sum((shares > quantum).astype(np.float32) for quantum in _QUANTA)
    smooth = scipy.ndimage.convolve1d(quarters * np.float32(0.25), _hann(), axis=0, mode="constant")
    return np.asarray(smooth / _safe(np.sqrt(np.square(smooth).sum(axis=1, keepdims=True))))


def tonnetz(chroma: Float32Array) -> Float32Array:
    """Tonal centroid: positions on the circles of fifths, minor and major thirds, `(n_frames, 6)`.

    Source: Harte, Sandler and Gasser, "Detecting harmonic change in musical audio", 2006,
    https://doi.org/10.1145/1178723.1178727 (`librosa.feature.tonnetz`).
    """
    steps = np.multiply.outer([7 / 6, 7 / 6, 3 / 2, 3 / 2, 2 / 3, 2 / 3], np.arange(12.0))
    steps[::2] -= 0.5  # a sine beside each cosine
    radii = np.array([1, 1, 1, 1, 0.5, 0.5])
    axes = radii[:, np.newaxis] * np.cos(np.pi * steps)
    shares = chroma / _safe(np.abs(chroma).sum(axis=1, keepdims=True))
    return np.asarray(shares @ axes.T)


def _safe(norm: Float32Array) -> Float32Array:
    return np.where(norm < _TINY, np.float32(1), norm)


@lru_cache(maxsize=1)
def _hann() -> Float32Array:
    """Symmetric Hann window of sum 1."""
    inside = np.arange(_SMOOTHED_FRAMES + 2) / (_SMOOTHED_FRAMES + 1)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * inside)
    return np.asarray(window / window.sum())
