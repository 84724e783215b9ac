"""Audio decoding: a mono waveform, with bounds for broken and malicious files.

Everything else decodes by this module. libsndfile reads most formats; containers such as m4a, webm
and wma, known by their content, are decoded in a separate process (`datasets.containers`).
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import soundfile

from chorale.datasets.audio_formats import container_of
from chorale.datasets.containers.process import ContainerError
from chorale.datasets.containers.sound import ContainerSound

DECODER_VERSION = 2
"""Part of every cache key: raise it when `load_audio` gives other samples for the same file."""

MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 1_000, 384_000
MAX_CHANNELS = 16
MAX_DURATION_S = 3 * 3600
MAX_SAMPLES = 2**28  # of one channel: 1 GiB as float32
MAX_PEAK = 1e6  # float files may pass full scale (1.0), but not so far that their power overflows

_BLOCK_SAMPLES = 2**16  # of all channels together: fits in a core's cache


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
    """The header of an audio file; `n_frames` counts the samples of one channel."""

    sample_rate: int
    n_channels: int
    n_frames: int
    format: str

    @property
    def duration_s(self) -> float:
        """Duration in seconds by the header."""
        return self.n_frames / self.sample_rate


def read_audio_header(path: str | Path) -> AudioHeader:
    """Reads the header without decoding any sample.

    Raises:
        AudioError: there is no such file, it is no audio, or its header is out of bounds.
    """
    with _opened(Path(path)) as sound:
        return _header(path, sound)


def read_tags(path: str | Path) -> dict[str, str]:
    """The metadata tags of a file, such as `title` and `artist`; empty where it has none.

    Raises:
        AudioError: there is no such file, or it is no audio.
    """
    with _opened(Path(path)) as sound:
        return {name: str(text) for name, text in sound.copy_metadata().items()}


def load_audio(
    path: str | Path, *, sample_rate: int | None = None
) -> tuple[npt.NDArray[np.float32], int]:
    """Decodes a file and mixes it down to mono; full scale is 1.0.

    Args:
        path: a wav, au, flac, ogg or mp3 file, or another format of libsndfile or `CONTAINERS`.
        sample_rate: resample to this rate in Hz; None keeps the file's own.

    Returns:
        The waveform, float32 `(n_samples,)`, all finite, at least one sample; and its rate in Hz.

    Raises:
        AudioError: the file is missing, broken, empty or too long, or has samples that are not
            finite or far beyond full scale.
    """
    with _opened(Path(path)) as sound:
        header = _header(path, sound)
        waveform = _decode(path, sound, header)
    if sample_rate is None or sample_rate == header.sample_rate:
        return waveform, header.sample_rate
    return resample(waveform, header.sample_rate, sample_rate), sample_rate


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


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Opens by file descriptor, because libsndfile relies on the file name.

    Given a path, it treats any file called `.au` or `.snd` whose header it cannot parse as
    headerless mu-law, and decodes it to noise.
    """
    if path.name.startswith("._"):
        raise AudioError(path, "not audio", "an AppleDouble file, left behind by macOS")
    try:
        if not path.is_file():  # opening a pipe would block
            detail = "it is not a file" if path.exists() else "there is no such file"
            raise AudioError(path, "missing", detail)
        with path.open("rb") as raw:
            if os.fstat(raw.fileno()).st_size == 0:
                raise AudioError(path, "empty", "0 bytes")
            with _sound(raw) as sound:
                yield sound
    except ContainerError as error:
        raise AudioError(path, error.problem, error.detail) from None
    except soundfile.LibsndfileError as error:
        reason = error.error_string.strip().removeprefix("Error : ").rstrip(".")
        raise AudioError(path, "undecodable", reason) from None
    except OSError as error:
        raise AudioError(path, "unreadable", error.strerror or str(error)) from None


def _sound(raw: IO[bytes]) -> Any:
    """Opens what libsndfile reads, by its content; else a container, in another process."""
    try:
        return soundfile.SoundFile(raw.fileno(), closefd=False)
    except soundfile.LibsndfileError:
        container = container_of(raw.fileno())
        if container is None:
            raise
    return ContainerSound(raw, container, max_frames=MAX_SAMPLES, max_duration_s=MAX_DURATION_S)


def _header(path: str | Path, sound: Any) -> AudioHeader:
    header = AudioHeader(sound.samplerate, sound.channels, sound.frames, sound.format)
    rate, channels, n_frames = header.sample_rate, header.n_channels, header.n_frames
    if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        allowed = f"allowed are {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz"
        raise AudioError(path, "absurd header", f"sample rate {rate} Hz; {allowed}")
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(path, "absurd header", f"{channels} channels; allowed are {MAX_CHANNELS}")
    if not 0 <= n_frames < 2**62:  # a FLAC stream may leave its length out
        raise AudioError(path, "absurd header", "it has no length; encode the file again")
    if n_frames == 0:
        raise AudioError(path, "empty", "no samples")
    if header.duration_s > MAX_DURATION_S or n_frames > MAX_SAMPLES:
        limit_s = min(MAX_DURATION_S, MAX_SAMPLES // rate)
        detail = f"{header.duration_s:.0f} s; at most {limit_s} s at {rate} Hz"
        raise AudioError(path, "too long", detail)
    return header


def _decode(path: str | Path, sound: Any, header: AudioHeader) -> npt.NDArray[np.float32]:
    """Decodes block by block, never more samples than the header states."""
    # libsndfile converts 16-bit samples to floats ten times slower than numpy
    narrow = sound.subtype == "PCM_16"
    dtype = np.dtype(np.int16 if narrow else np.float32)
    scale = np.float32(1 / (header.n_channels * (2**15 if narrow else 1)))
    block = np.empty((_BLOCK_SAMPLES // header.n_channels, header.n_channels), dtype)
    waveform = np.empty(header.n_frames, np.float32)
    n_done = 0
    while n_done < header.n_frames:
        got = sound.read(out=block[: header.n_frames - n_done])
        if not len(got):  # the file is shorter than its header says
            break
        mono = waveform[n_done : n_done + len(got)]
        _mix_down(got, scale, out=mono)
        if not narrow:  # 16-bit samples are always in range
            _check_samples(path, mono, start_s=n_done / header.sample_rate)
        n_done += len(got)
    if n_done == 0:
        raise AudioError(path, "undecodable", f"none of its {header.n_frames} samples")
    return waveform if n_done == header.n_frames else waveform[:n_done].copy()


def _mix_down(block: npt.NDArray[Any], scale: np.float32, *, out: npt.NDArray[np.float32]) -> None:
    """The scaled sum of the channels; summed by column, as numpy is slow over a short last axis."""
    with np.errstate(over="ignore", invalid="ignore"):
        out[:] = block[:, 0]  # converted first: a product that also converts is buffered
        out *= scale
        for channel in range(1, block.shape[1]):
            out += block[:, channel] * scale


def _check_samples(path: str | Path, mono: npt.NDArray[np.float32], *, start_s: float) -> None:
    peak = np.maximum(mono.max(), -mono.min())  # NaN if any sample is NaN
    if not np.isfinite(peak):
        raise AudioError(path, "not finite", f"NaN or infinite samples after {start_s:.1f} s")
    if peak > MAX_PEAK:
        raise AudioError(path, "not finite", f"samples up to {peak:.3g}, where full scale is 1")
