"""Mel-frequency cepstral coefficients: the spectral envelope in a few numbers per frame."""

from typing import Annotated

import numpy as np
from pydantic import Field

from chorale.datasets.config import config as config_class
from chorale.datasets.dsp.mel_config import MelConfig
from chorale.datasets.dsp.mel_spectrogram import Float32Array, mel_spectrogram, power_to_db


@config_class
class CepstrumConfig(MelConfig):
    """A mel spectrogram and the number of cepstral coefficients."""

    n_mfcc: Annotated[int, Field(ge=1, le=512)] = 20
    """coefficients, the first of them the overall level"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_mfcc > self.n_mels:
            raise ValueError(f"n_mfcc must be at most {self.n_mels=}, but got {self.n_mfcc=}")


def cepstrum(waveform: Float32Array, config: CepstrumConfig) -> Float32Array:
    """The first coefficients of the cosine transform of the mel bands' levels.

    Args:
        waveform: float32 `(n_samples,)` at `config.sample_rate`, not empty.
        config: frames, bands and coefficients.

    Returns:
        float32 `(n_frames, n_mfcc)`.

    Raises:
        ValueError: `waveform` is empty.

    Source: Davis and Mermelstein, "Comparison of parametric representations for monosyllabic word
    recognition in continuously spoken sentences", 1980, https://doi.org/10.1109/TASSP.1980.1163420;
    as `librosa.feature.mfcc` does it (McFee et al., 2015).
    """
    import scipy.fft  # lazy, because reading the config alone does not need it

    level = power_to_db(mel_spectrogram(waveform, config)).T  # (n_frames, n_mels)
    coefficients = scipy.fft.dct(level, type=2, norm="ortho", axis=1)
    return np.ascontiguousarray(coefficients[:, : config.n_mfcc])
