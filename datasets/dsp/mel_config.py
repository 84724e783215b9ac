"""Mel spectrogram config, without importing NumPy; `datasets.dsp.mel_spectrogram` computes it."""

from typing import Annotated

from pydantic import Field

from chorale.datasets.config import config


@config
class MelConfig:
    """Parameters of a mel spectrogram; frames are centred, the window is a Hann window."""

    sample_rate: Annotated[int, Field(ge=1_000, le=384_000)] = 22_050
    """Hz; audio at another rate is resampled to it"""
    n_fft: Annotated[int, Field(ge=64, le=16_384)] = 2048
    """samples of one window"""
    hop_length: Annotated[int, Field(ge=16, le=16_384)] = 512
    """samples from one frame to the next"""
    n_mels: Annotated[int, Field(ge=2, le=512)] = 128
    """mel bands"""
    f_min: Annotated[float, Field(ge=0)] = 0.0
    """Hz; the lower edge of the lowest band"""
    f_max: Annotated[float, Field(gt=0)] | None = None
    """Hz; the upper edge of the highest band; default: half the sample rate"""

    def __post_init__(self) -> None:
        if self.hop_length > self.n_fft:
            raise ValueError(
                f"hop_length must be at most n_fft={self.n_fft}, or samples between two windows "
                f"are lost, but got hop_length={self.hop_length}"
            )
        if not self.f_min < self.top_hz <= self.sample_rate / 2:
            raise ValueError(
                f"f_min < f_max <= sample_rate / 2 must hold, but got f_min={self.f_min}, "
                f"f_max={self.f_max}, sample_rate={self.sample_rate}"
            )

    @property
    def frame_rate_hz(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop_length

    @property
    def top_hz(self) -> float:
        """The upper edge of the highest band."""
        return self.sample_rate / 2 if self.f_max is None else self.f_max
