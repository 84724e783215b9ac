"""FMA's feature table computed from audio: 518 statistics of a whole track.

The feature cache calls `extract` once for each track; `datasets.catalog.fma_features` reads the
same numbers precomputed, so a model works with both. Their names are `stats_names.STATS518`.
"""

from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from chorale.datasets.base import Layout
from chorale.datasets.config import config as config_class
from chorale.datasets.dsp import chroma, descriptors
from chorale.datasets.dsp.constant_q import constant_q
from chorale.datasets.dsp.mel_spectrogram import Float32Array
from chorale.datasets.tables.stats_names import STATS518

VERSION = 1
LAYOUT: Layout = "table"
SPECTRAL = False
NO_NETWORK = "its constant-Q transforms and ranks have no ONNX form"

ASSUMED_RATE_HZ = 22_050
"""The sample rate that the published code assumes for every file, except for pitch and mel bands:
at another rate, frequencies in Hz are wrong by the same factor as in the published table."""

_N_MFCC = 20


@config_class
class Config:
    """The sample rate; all else is as published."""

    sample_rate: Annotated[int, Field(ge=11_025, le=48_000)] = 22_050
    """Hz; audio at another rate is resampled to it; most of the published table has 44,100"""

    @property
    def frame_rate_hz(self) -> float:
        """0: a track has a single frame, whatever its length."""
        return 0.0

    @property
    def n_bins(self) -> int:
        """Values in the frame."""
        return len(STATS518)


def extract(waveform: Float32Array, config: Config) -> Float32Array:
    """Seven statistics of each of 74 series over the frames of a track.

    Args:
        waveform: float32 `(n_samples,)` at `config.sample_rate`, not empty.
        config: the sample rate.

    Returns:
        float32 `(518,)` in the order of `stats_names.STATS518`; the skewness of a series that
        is constant is 0 and its kurtosis -3, as in the published table.

    Raises:
        ValueError: `waveform` is empty.

    Source: Defferrard, Benzi, Vandergheynst and Bresson, "FMA: A Dataset For Music Analysis",
    2017, https://arxiv.org/abs/1612.01840 (`features.py`), by the definitions of librosa 0.11.
    """
    rate, assumed = config.sample_rate, ASSUMED_RATE_HZ
    magnitude = np.abs(descriptors.stft(waveform))
    power = np.square(magnitude)
    semitones = constant_q(
        waveform,
        sample_rate=rate,
        hop_length=descriptors.HOP_LENGTH,
        tuning=descriptors.tuning(magnitude, rate),
    )
    folded = chroma.fold_octaves(semitones)
    cens = chroma.cens(folded)
    centroid, bandwidth = descriptors.centroid_and_bandwidth(magnitude, assumed)
    series: list[npt.NDArray[Any]] = [  # in lexicographic order of the published names
        cens,
        chroma.peak_normalized(folded),
        descriptors.chroma(power, assumed),
        descriptors.mfcc(descriptors.mel_db(power, rate), _N_MFCC),
        descriptors.spectral_rms(magnitude),
        bandwidth,
        centroid,
        descriptors.spectral_contrast(magnitude, assumed),
        descriptors.rolloff(magnitude, assumed),
        chroma.tonnetz(cens),
        descriptors.zero_crossing_rate(waveform),
    ]
    return np.concatenate([column_statistics(values) for values in series]).astype(np.float32)


def column_statistics(series: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Kurtosis, max, mean, median, min, skewness, standard deviation, each of every column.

    Args:
        series: `(n_frames,)` or `(n_frames, n_columns)`.

    Returns:
        float64 `(7 * n_columns,)`.
    """
    values = series.reshape(len(series), -1).astype(np.float64)
    mean = values.mean(axis=0)
    deviation = values - mean
    squares = deviation**2
    variance = squares.mean(axis=0)
    varies = variance > (np.finfo(np.float64).resolution * mean) ** 2
    scale = np.where(varies, variance, 1.0)
    skewness = (squares * deviation).mean(axis=0) / scale**1.5
    kurtosis = (squares**2).mean(axis=0) / scale**2 - 3
    return np.concatenate(
        [
            np.where(varies, kurtosis, -3.0),
            values.max(axis=0),
            mean,
            np.median(values, axis=0),
            values.min(axis=0),
            np.where(varies, skewness, 0.0),
            np.sqrt(variance),
        ]
    )
