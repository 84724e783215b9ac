"""Constant-Q transform (CQT): a spectrogram whose bins are semitones.

`datasets.features.stats518` computes its chroma from it. librosa computes the filters again for
each octave of each track; here they are cached for all octaves and tracks of the same tuning.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view

from chorale.datasets.dsp.librosa_parts import librosa_module
from chorale.datasets.dsp.mel_spectrogram import Float32Array, Spectrum

BINS_PER_OCTAVE = 12
N_OCTAVES = 7
C1_HZ = 440 * 2 ** (-45 / 12)  # frequency of the lowest bin at tuning 0

_SPARSITY = 0.01  # share of a filter's magnitude that is dropped with its small weights


def constant_q(
    waveform: Float32Array, *, sample_rate: float, hop_length: int, tuning: float
) -> Float32Array:
    """Magnitudes of 84 semitones from C1: float32 `(n_frames, 84)`.

    Args:
        waveform: float32 `(n_samples,)`, not empty.
        sample_rate: in Hz.
        hop_length: samples from one frame to the next; a multiple of 64.
        tuning: of the instruments, in semitones relative to A = 440 Hz.

    Source: Schörkhuber and Klapuri, "Constant-Q transform toolbox for music processing", 2010,
    https://www.iem.at/~schoerkhuber/cqt2010/; as `librosa.cqt` does it with its defaults.
    """
    factor = 2 ** _n_early_downsamplings(sample_rate, hop_length, tuning)
    if factor > 1:
        waveform = _downsample(waveform, factor)
    hop = hop_length // factor
    filters = _top_octave_filters(sample_rate / factor, tuning)
    octaves = []
    for octave in range(N_OCTAVES):
        if octave:
            waveform, hop = _downsample(waveform, 2), hop // 2
        octaves.append(np.abs(_spectra(waveform, 2 * (len(filters) - 1), hop) @ filters))
    n_frames = min(map(len, octaves))
    lowest_first = [magnitude[:n_frames] for magnitude in reversed(octaves)]
    return np.concatenate(lowest_first, axis=1).astype(np.float32)


def _frequencies_hz(tuning: float) -> Any:
    bins = np.arange(N_OCTAVES * BINS_PER_OCTAVE)
    return C1_HZ * 2 ** ((bins + tuning) / BINS_PER_OCTAVE)


def _n_early_downsamplings(sample_rate: float, hop_length: int, tuning: float) -> int:
    """How often the rate can be halved before the highest octave; it is halved for each octave."""
    _, top_hz = librosa_module("filters").wavelet_lengths(
        freqs=_frequencies_hz(tuning), sr=sample_rate, gamma=0
    )
    if top_hz > sample_rate / 2:
        raise ValueError(f"{sample_rate=} is too low for a bin that reaches {top_hz:.0f} Hz")
    for_rate = int(np.ceil(np.log2(sample_rate / 2 / top_hz))) - 2
    n_twos = (hop_length & -hop_length).bit_length() - 1
    return min(max(0, for_rate), max(0, n_twos - N_OCTAVES + 1))


@lru_cache(maxsize=128)  # tunings are hundredths of a semitone
def _top_octave_filters(sample_rate: float, tuning: float) -> Spectrum:
    """The filters of the highest octave as spectra, `(1 + n_fft // 2, 12)`.

    Each lower octave has the same filters at half the rate. librosa's scaling for their doubled
    length in time cancels with the energy scaling of `_downsample`.
    """
    hz = _frequencies_hz(tuning)
    step = 2 ** (2 / BINS_PER_OCTAVE)
    width = np.full(BINS_PER_OCTAVE, (step - 1) / (step + 1))
    basis, lengths = librosa_module("filters").wavelet(
        freqs=hz[-BINS_PER_OCTAVE:], sr=sample_rate, pad_fft=True, gamma=0, alpha=width
    )
    n_fft = basis.shape[1]
    basis *= lengths[:, np.newaxis] / n_fft
    spectra = scipy.fft.fft(basis, axis=1)[:, : 1 + n_fft // 2]
    sparse = librosa_module("util.utils").sparsify_rows(
        spectra, quantile=_SPARSITY, dtype=np.complex64
    )
    kept = sparse.toarray()
    return np.ascontiguousarray((kept / np.sqrt(lengths)[:, np.newaxis]).T, np.complex64)


def _spectra(waveform: Float32Array, n_fft: int, hop_length: int) -> Spectrum:
    """Spectra of centred frames without a window, `(n_frames, 1 + n_fft // 2)`."""
    padded = np.pad(waveform, n_fft // 2)
    frames = sliding_window_view(padded, n_fft)[::hop_length]
    return np.asarray(scipy.fft.rfft(frames.astype(np.float64), axis=1), np.complex64)


def _downsample(waveform: Float32Array, factor: int) -> Float32Array:
    """The waveform at a rate lower by `factor`, with the same energy."""
    downsampled = librosa_module("core.audio").resample(
        waveform, orig_sr=factor, target_sr=1, res_type="soxr_hq", scale=True
    )
    return np.asarray(downsampled, np.float32)
