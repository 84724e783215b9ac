"""Spectral descriptors per frame (centroid, rolloff, contrast, chroma, MFCC) from one shared STFT.

The feature sets that describe a whole track compute statistics of these. Each equals the result of
librosa 0.11 with its defaults (verified in the tests), frames first.

Source: McFee et al., "librosa: Audio and Music Signal Analysis in Python", 2015,
https://doi.org/10.25080/Majora-7b98e3ed-003.
"""

from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view

from chorale.datasets.dsp.librosa_parts import librosa_module
from chorale.datasets.dsp.mel_config import MelConfig
from chorale.datasets.dsp.mel_spectrogram import (
    AMIN,
    TOP_DB,
    Float32Array,
    Spectrum,
    frame_count,
    mel_filters,
    power_to_db,
)

Float64Array = npt.NDArray[np.float64]

N_FFT = 2048
HOP_LENGTH = 512
_BLOCK_FRAMES = 64  # they and their spectra fit in a core's cache
_TINY = np.finfo(np.float32).tiny
_SILENCE = 1e-10  # the sign of smaller samples is ignored
_ROLLOFF = np.float32(0.85)  # share of the magnitude
_EXTREME = 0.02  # share of a band's bins that are its peak, or its valley
_CONTRAST_HZ, _CONTRAST_BANDS = 200.0, 6
_TUNING_HZ = (150.0, 4000.0)  # range of the peaks for the tuning estimate
_PEAK = np.float32(0.1)  # relative to the loudest bin of the frame


def stft(waveform: Float32Array) -> Spectrum:
    """Spectra of centred frames, Hann window: complex64 `(n_frames, 1 + N_FFT // 2)`.

    In double precision, as in librosa: the tuning is the maximum of a histogram, and the last digit
    can decide which bin that is.

    Raises:
        ValueError: `waveform` is empty or not `(n_samples,)`.
    """
    n_frames = frame_count(waveform, N_FFT, HOP_LENGTH)
    padded = np.pad(waveform, N_FFT // 2)
    frames = sliding_window_view(padded, N_FFT)[::HOP_LENGTH]
    spectrum = np.empty((n_frames, 1 + N_FFT // 2), np.complex64)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)
    for start in range(0, n_frames, _BLOCK_FRAMES):
        block = slice(start, min(start + _BLOCK_FRAMES, n_frames))
        spectrum[block] = scipy.fft.rfft(frames[block] * window, axis=1, overwrite_x=True)
    return spectrum


def frequencies_hz(sample_rate: float) -> Float64Array:
    """The centre frequency of each bin, `(1 + N_FFT // 2,)`."""
    return np.arange(1 + N_FFT // 2, dtype=np.float64) * (sample_rate / N_FFT)


def zero_crossing_rate(waveform: Float32Array) -> Float64Array:
    """Changes of sign per sample in each centred frame, `(n_frames,)`."""
    padded = np.pad(waveform, N_FFT // 2, mode="edge")
    negative = padded < -_SILENCE
    crossings = np.zeros(len(padded) + 1, np.int64)  # cumulative, before each sample
    np.cumsum(negative[1:] != negative[:-1], out=crossings[2:])
    first = np.arange(0, len(padded) - N_FFT + 1, HOP_LENGTH)
    return np.asarray((crossings[first + N_FFT] - crossings[first + 1]) / N_FFT)


def waveform_rms(waveform: Float32Array) -> Float32Array:
    """Root mean square of each centred frame's samples, `(n_frames,)`."""
    n_frames = frame_count(waveform, N_FFT, HOP_LENGTH)
    n_hops = N_FFT // HOP_LENGTH
    padded = np.pad(waveform, N_FFT // 2)[: (n_frames + n_hops - 1) * HOP_LENGTH]
    squares = np.square(padded.reshape(-1, HOP_LENGTH), dtype=np.float64).sum(axis=1)
    totals = sliding_window_view(squares, n_hops).sum(axis=1)
    return np.asarray(np.sqrt(totals / N_FFT), np.float32)


def spectral_rms(magnitude: Float32Array) -> Float32Array:
    """Root mean square of each windowed frame, from its magnitudes, `(n_frames,)`."""
    power = np.square(magnitude)
    total = 2 * power.sum(axis=1) - power[:, 0] - power[:, -1]
    return np.asarray(np.sqrt(np.maximum(total, 0)) / np.float32(N_FFT))


def centroid_and_bandwidth(
    magnitude: Float32Array, sample_rate: float
) -> tuple[Float64Array, Float64Array]:
    """Spectral centroid and bandwidth of each frame, both in Hz, `(n_frames,)`.

    Mean and deviation of the frequency, weighted by magnitude; both are 0 for a silent frame.
    """
    hz = frequencies_hz(sample_rate)
    moments = magnitude.astype(np.float64) @ np.stack([np.ones_like(hz), hz, hz**2], axis=1)
    total = moments[:, 0]
    total = np.where(total < _TINY, 1.0, total)
    centroid = moments[:, 1] / total
    # the sum of squares stays unnormalised if the magnitudes are too small
    spread = moments[:, 2] / total - 2 * centroid * (moments[:, 1] / total)
    spread += centroid**2 * (moments[:, 0] / total)
    return centroid, np.sqrt(np.maximum(spread, 0))


def rolloff(magnitude: Float32Array, sample_rate: float) -> Float64Array:
    """Spectral rolloff: the frequency in Hz below which 85 % of a frame's magnitude is."""
    total = np.cumsum(magnitude, axis=1)
    below = total < _ROLLOFF * total[:, -1:]
    return np.asarray(frequencies_hz(sample_rate)[below.sum(axis=1)])


def spectral_contrast(magnitude: Float32Array, sample_rate: float) -> Float64Array:
    """Spectral contrast: peaks over valleys in each of seven octave bands, in dB, `(n_frames, 7)`.

    Source: Jiang et al., "Music type classification by spectral contrast feature", 2002,
    https://doi.org/10.1109/ICME.2002.1035731 (`librosa.feature.spectral_contrast`).
    """
    bands = [magnitude[:, bins] for bins in _octaves(sample_rate)]
    valleys, peaks = [], []
    for band, bins in zip(bands, _octaves(sample_rate), strict=True):
        is_last = bins.stop == magnitude.shape[1]
        n = max(1, round(_EXTREME * (band.shape[1] + (not is_last))))
        ordered = np.partition(band, (n - 1, band.shape[1] - n), axis=1)
        valleys.append(ordered[:, :n].mean(axis=1, dtype=np.float64))
        peaks.append(ordered[:, -n:].mean(axis=1, dtype=np.float64))
    return _db(np.stack(peaks, axis=1)) - _db(np.stack(valleys, axis=1))


def tuning(spectrogram: Float32Array, sample_rate: float) -> float:
    """Estimated tuning relative to A = 440 Hz, in semitones, -0.5 to 0.5.

    Args:
        spectrogram: power or magnitude `(n_frames, n_bins)`; its peaks are interpolated.
        sample_rate: in Hz.
    """
    hz = frequencies_hz(sample_rate)
    inside = np.flatnonzero((hz >= _TUNING_HZ[0]) & (hz < min(_TUNING_HZ[1], sample_rate / 2)))
    first, last = max(int(inside[0]), 1), min(int(inside[-1]) + 1, spectrogram.shape[1] - 1)
    below = spectrogram[:, first - 1 : last - 1]
    here, above = spectrogram[:, first:last], spectrogram[:, first + 1 : last + 1]
    loud = _PEAK * spectrogram.max(axis=1, keepdims=True)
    frame, offset = np.nonzero((here > loud) & (here > below) & (here >= above))
    peak, left, right = here[frame, offset], below[frame, offset], above[frame, offset]
    curve = (left + right).astype(np.float64) - 2 * peak.astype(np.float64)
    slope = (right - left).astype(np.float64) / 2
    flat = np.abs(slope) >= np.abs(curve)
    shift = np.where(flat, 0, -slope / np.where(flat, 1, curve)).astype(np.float32)
    pitch = ((offset + first + shift.astype(np.float64)) * sample_rate / N_FFT).astype(np.float32)
    if not len(pitch):
        return 0.0
    height = peak + np.float32(0.5) * slope.astype(np.float32) * shift
    return float(librosa_module("core.pitch").pitch_tuning(pitch[height >= np.median(height)]))


def chroma(power: Float32Array, sample_rate: float) -> Float32Array:
    """Chroma: energy of the twelve pitch classes, normalised to maximum 1: `(n_frames, 12)`."""
    bank = librosa_module("filters").chroma(
        sr=sample_rate, n_fft=N_FFT, tuning=tuning(power, sample_rate)
    )
    raw = power @ bank.T
    peak = np.abs(raw).max(axis=1, keepdims=True)
    return np.asarray(raw / np.where(peak < _TINY, np.float32(1), peak), np.float32)


def mel_db(power: Float32Array, sample_rate: float) -> Float32Array:
    """Log-mel spectrogram: levels of 128 mel bands in dB, `(n_frames, 128)`."""
    return power_to_db(power @ _mel_bank(sample_rate))


def mfcc(level: Float32Array, n_mfcc: int) -> Float32Array:
    """The first cepstral coefficients of `mel_db` levels, `(n_frames, n_mfcc)`.

    Source: Davis and Mermelstein, 1980, https://doi.org/10.1109/TASSP.1980.1163420.
    """
    return np.asarray(scipy.fft.dct(level, type=2, norm="ortho", axis=1)[:, :n_mfcc], np.float32)


def _db(power: Float64Array) -> Float64Array:
    level = 10 * np.log10(np.maximum(power, AMIN))
    return np.asarray(np.maximum(level, level.max() - TOP_DB))


@lru_cache(maxsize=4)
def _octaves(sample_rate: float) -> tuple[slice, ...]:
    """Bins of the bands of `spectral_contrast`.

    As in librosa, each begins with the last bin of the band below, and its own last bin belongs to
    the next one.
    """
    hz = frequencies_hz(sample_rate)
    edges = [0.0, *(_CONTRAST_HZ * 2.0**octave for octave in range(_CONTRAST_BANDS + 1))]
    bands = []
    for band, (low, high) in enumerate(pairwise(edges)):
        inside = np.flatnonzero((hz >= low) & (hz <= high))
        first = int(inside[0]) - (band > 0)
        is_last = band == _CONTRAST_BANDS
        bands.append(slice(first, len(hz) if is_last else int(inside[-1])))
    return tuple(bands)


@lru_cache(maxsize=4)
def _mel_bank(sample_rate: int) -> Float32Array:
    filters = mel_filters(MelConfig(sample_rate=sample_rate, n_fft=N_FFT, n_mels=128))
    return np.ascontiguousarray(filters.T)
