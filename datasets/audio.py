"""Audio decoding: a mono waveform, with bounds for broken and malicious files.

Everything else decodes by this module. No length in a header is trusted: `datasets.decoding` reads
each file to its end, up to the limits here. libsndfile reads most formats; containers such as m4a,
webm and wma, known by their content, are decoded in a separate process (`datasets.containers`).
"""

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chorale.datasets.decoding import decode, header
from chorale.datasets.decoding.base import AudioError as AudioError
from chorale.datasets.decoding.base import AudioHeader as AudioHeader
from chorale.datasets.decoding.base import LengthLimits
from chorale.datasets.decoding.base import Recording as Recording
from chorale.datasets.decoding.header import MAX_CHANNELS as MAX_CHANNELS
from chorale.datasets.decoding.header import MAX_SAMPLE_RATE as MAX_SAMPLE_RATE
from chorale.datasets.decoding.header import MIN_SAMPLE_RATE as MIN_SAMPLE_RATE

DECODER_VERSION = 3
"""Part of every cache key: raise it when `load_audio` gives other samples for the same file."""

MAX_DURATION_S = 3 * 3600
MAX_SAMPLES = 2**28  # of one channel: 1 GiB as float32


def read_audio_header(path: str | Path) -> AudioHeader:
    """Reads the header without decoding any sample.

    Raises:
        AudioError: there is no such file, it is no audio, or its header is out of bounds.
    """
    return header.read_header(Path(path), LengthLimits(MAX_DURATION_S, MAX_SAMPLES))


def read_tags(path: str | Path) -> dict[str, str]:
    """The metadata tags of a file, such as `title` and `artist`; empty where it has none.

    Raises:
        AudioError: there is no such file, or it is no audio.
    """
    return header.read_header_tags(Path(path), LengthLimits(MAX_DURATION_S, MAX_SAMPLES))


def load_audio(
    path: str | Path,
    *,
    sample_rate: int | None = None,
    max_duration_s: float | None = None,
    max_samples: int | None = None,
) -> tuple[npt.NDArray[np.float32], int]:
    """Decodes a file and mixes it down to mono; full scale is 1.0.

    Args:
        path: a file of one of the formats in `datasets.audio_formats`.
        sample_rate: resample to this rate in Hz; None keeps the file's own.
        max_duration_s: a limit below `MAX_DURATION_S`.
        max_samples: a limit below `MAX_SAMPLES`, of one channel at the file's own rate.

    Returns:
        The waveform, float32 `(n_samples,)`, all finite, at least one sample; and its rate in Hz.

    Raises:
        AudioError: the file is missing, broken, empty or too long, or has samples that are not
            finite or far beyond full scale.
    """
    found = decode_audio(path, max_duration_s=max_duration_s, max_samples=max_samples)
    if sample_rate is None or sample_rate == found.sample_rate:
        return found.waveform, found.sample_rate
    return resample(found.waveform, found.sample_rate, sample_rate), sample_rate


def decode_audio(
    path: str | Path, *, max_duration_s: float | None = None, max_samples: int | None = None
) -> Recording:
    """Like `load_audio` without resampling, with what the audit reports about the file.

    Raises:
        AudioError: as `load_audio`.
    """
    limits = LengthLimits(
        MAX_DURATION_S if max_duration_s is None else min(max_duration_s, MAX_DURATION_S),
        MAX_SAMPLES if max_samples is None else min(max_samples, MAX_SAMPLES),
    )
    return decode.decode(Path(path), limits)


def content_hash(path: str | Path) -> str:
    """SHA-256 of the file's bytes: the cache key of its audit findings and features.

    Raises:
        AudioError: the file is missing or cannot be read.
    """
    try:
        with Path(path).open("rb") as raw:
            return hashlib.file_digest(raw, "sha256").hexdigest()
    except FileNotFoundError:
        raise AudioError(path, "missing", "there is no such file") from None
    except OSError as error:
        raise AudioError(path, "unreadable", error.strerror or str(error)) from None


def resample(
    waveform: npt.NDArray[np.float32], from_rate: int, to_rate: int
) -> npt.NDArray[np.float32]:
    """Band-limited resampling of `(n_samples,)` between two rates in Hz, SoX's "high quality".

    The filter takes little memory for any ratio: 44,099 to 22,050 Hz as well as 44,100. The result
    has at least one sample.

    Source: libsoxr by Rob Sykes, 2013, https://sourceforge.net/projects/soxr/
    """
    import soxr  # only corpora of another rate need it

    resampled = soxr.resample(waveform, from_rate, to_rate, quality="HQ")
    return np.asarray(resampled if len(resampled) else waveform[:1], dtype=np.float32)
