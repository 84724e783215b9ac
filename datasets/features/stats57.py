"""GTZAN's feature table computed from audio: 57 statistics of a whole track.

The feature cache calls `extract` once for each track; `datasets.catalog.gtzan_features` reads the
same numbers precomputed, so a model works with both. Their names are `stats_names.STATS57`.
"""

from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from chorale.datasets.base import Layout
from chorale.datasets.config import config as config_class
from chorale.datasets.dsp import descriptors
from chorale.datasets.dsp.librosa_parts import librosa_module
from chorale.datasets.dsp.mel_spectrogram import Float32Array
from chorale.datasets.tables.stats_names import STATS57

VERSION = 1
LAYOUT: Layout = "table"
SPECTRAL = False
NO_NETWORK = "its beat tracking and harmonic-percussive separation have no ONNX form"

_N_MFCC = 20


@config_class
class Config:
    """The sample rate; all else is as published."""

    sample_rate: Annotated[int, Field(ge=8_000, le=48_000)] = 22_050
    """Hz; audio at another rate is resampled to it; the published table has 22,050"""

    @property
    def frame_rate_hz(self) -> float:
        """0: a track has a single frame, whatever its length."""
        return 0.0

    @property
    def n_bins(self) -> int:
        """Values in the frame."""
        return len(STATS57)


def extract(waveform: Float32Array, config: Config) -> Float32Array:
    """Mean and population variance of the frame descriptors, and the tempo.

    Args:
        waveform: float32 `(n_samples,)` at `config.sample_rate`, not empty.
        config: the sample rate.

    Returns:
        float32 `(57,)` in the order of `stats_names.STATS57`; tempo in beats per minute, 0 without
        any onset.

    Raises:
        ValueError: `waveform` is empty.

    Source: A. Olteanu, "GTZAN Dataset - Music Genre Classification", 2020,
    https://www.kaggle.com/datasets/andradaolteanu/gtzan-dataset-music-genre-classification; by the
    definitions of librosa 0.11 and its defaults.
    """
    from chorale.datasets.dsp.hpss import hpss  # imports numba

    rate = config.sample_rate
    spectrum = descriptors.stft(waveform)
    magnitude = np.abs(spectrum)
    power = np.square(magnitude)
    level = descriptors.mel_db(power, rate)
    measured: list[npt.NDArray[Any]] = [
        descriptors.chroma(power, rate),
        descriptors.waveform_rms(waveform),
        *descriptors.centroid_and_bandwidth(magnitude, rate),
        descriptors.rolloff(magnitude, rate),
        descriptors.zero_crossing_rate(waveform),
        *hpss(spectrum, hop_length=descriptors.HOP_LENGTH, n_samples=len(waveform)),
    ]
    coefficients = descriptors.mfcc(level, _N_MFCC).astype(np.float64)
    moments = [
        *(moment for values in measured for moment in _mean_and_variance(values)),
        tempo_bpm(level, rate),
        *np.stack([coefficients.mean(axis=0), coefficients.var(axis=0)], axis=1).ravel(),
    ]
    return np.array(moments, np.float32)


def tempo_bpm(level: Float32Array, sample_rate: float) -> float:
    """The initial tempo of librosa's beat tracker, in beats per minute.

    Args:
        level: mel bands in dB, `(n_frames, n_mels)`.
        sample_rate: in Hz.

    Source: Ellis, "Beat Tracking by Dynamic Programming", 2007,
    https://doi.org/10.1080/09298210701653344 (`librosa.beat.beat_track`).
    """
    rise = np.median(np.maximum(0, level[1:] - level[:-1]), axis=1)
    # a difference is delayed by one frame, and a frame by half its length
    delay = 1 + descriptors.N_FFT // (2 * descriptors.HOP_LENGTH)
    onsets = np.concatenate([np.zeros(delay, np.float32), rise])[: len(level)]
    if not onsets.any():
        return 0.0
    return float(librosa_module("feature.rhythm").tempo(onset_envelope=onsets, sr=sample_rate)[0])


def _mean_and_variance(values: npt.NDArray[Any]) -> tuple[float, float]:
    return float(values.mean(dtype=np.float64)), float(values.var(dtype=np.float64))
