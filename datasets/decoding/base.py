"""Types of decoding: the header of a file, the decoded recording, and the error.

`datasets.audio` passes them on to everything that needs audio.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt


class AudioError(Exception):
    """A file cannot be decoded to a usable waveform.

    `problem` is one of "missing", "unreadable", "not audio", "undecodable", "no decoder", "empty",
    "absurd header", "too long", "not finite"; `detail` is one line for the user.
    """

    def __init__(self, path: str | Path, problem: str, detail: str) -> None:
        super().__init__(str(path), problem, detail)  # all three, so that it can be pickled
        self.path = str(path)
        self.problem = problem
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.path}: {self.problem} ({self.detail})"


@dataclass(frozen=True)
class AudioHeader:
    """The header of an audio file; `n_frames` counts the samples of one channel.

    `n_frames` is None where the header states no length. It may be wrong, and that of an MP3
    without a count is an estimate: only decoding gives the length.
    """

    sample_rate: int
    n_channels: int
    n_frames: int | None
    format: str

    @property
    def duration_s(self) -> float | None:
        """Duration in seconds by the header."""
        return None if self.n_frames is None else self.n_frames / self.sample_rate


@dataclass(frozen=True)
class Recording:
    """A decoded file, and where its content and its header differ.

    Attributes:
        waveform: float32 `(n_samples,)`, mono.
        sample_rate: in Hz.
        format: the name of the content's format (see `datasets.audio_formats`).
        header_s: the duration by the header in seconds, or by the decoder's estimate from it; 0
            where there is none, None where it is that of the waveform.
        cancelled_share: share (0 to 1) of the energy that the mean of the channels cancels, where
            the waveform is that of one channel for this reason; otherwise 0.
        n_undecoded_bytes: bytes at the end of the file that seem to be another stream, such as one
            of another sample rate or a second Ogg stream, and were not decoded.
        messages: what the decoder reported, one line each.
    """

    waveform: npt.NDArray[np.float32]
    sample_rate: int
    format: str
    header_s: float | None = None
    cancelled_share: float = 0.0
    n_undecoded_bytes: int = 0
    messages: tuple[str, ...] = ()


@dataclass(frozen=True)
class LengthLimits:
    """The longest recording that is decoded: both limits hold."""

    duration_s: float
    n_samples: int

    def samples(self, sample_rate: int) -> int:
        """The largest number of samples of one channel."""
        return min(self.n_samples, round(self.duration_s * sample_rate))
