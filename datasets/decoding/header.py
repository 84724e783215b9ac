"""Opens sound files and reads their headers, with bounds; errors become `AudioError`.

`datasets.audio` and `datasets.decoding.decode` use it.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import soundfile

from chorale.datasets.audio_formats import container_of
from chorale.datasets.containers.process import ContainerError
from chorale.datasets.containers.sound import ContainerSound
from chorale.datasets.decoding.base import AudioError, AudioHeader, LengthLimits
from chorale.datasets.decoding.blocks import error_text
from chorale.datasets.decoding.messages import collected_messages
from chorale.datasets.decoding.sound_file import UNKNOWN_FRAMES, FileView, open_sound
from chorale.datasets.decoding.sound_length import SampleBytes, file_size, sample_bytes

MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 1_000, 384_000
MAX_CHANNELS = 16

_OTHER_THAN_MP3 = (b"RIFF", b"RIFX", b"RF64", b"riff", b"fLaC", b"OggS", b"FORM", b".snd", b"caff")


@dataclass(frozen=True)
class FirstLook:
    """The first bytes of a file: its size, the sizes its header states, whether it may be an MP3.

    `sizes` is None for formats that state none in bytes.
    """

    n_bytes: int
    sizes: SampleBytes | None
    may_be_mp3: bool

    @property
    def view(self) -> FileView:
        """The file, with its sizes corrected."""
        return FileView(self.sizes.patches if self.sizes else {})


def read_header(path: Path, limits: LengthLimits) -> AudioHeader:
    """Reads the header; only containers are decoded for it, as most do not state their length.

    Raises:
        AudioError: there is no such file, it is no audio, or its header is out of bounds.
    """
    look = first_look(path)
    with collected_messages(look.may_be_mp3), opened(path, look.view, limits) as (_, sound):
        return sound_header(path, sound)


def read_header_tags(path: Path, limits: LengthLimits) -> dict[str, str]:
    """The metadata tags of a file, such as `title` and `artist`; empty where it has none.

    Raises:
        AudioError: there is no such file, or it is no audio.
    """
    look = first_look(path)
    with collected_messages(look.may_be_mp3), opened(path, FileView(), limits) as (_, sound):
        return {name: str(text) for name, text in sound.copy_metadata().items()}


@contextmanager
def opened(path: Path, view: FileView, limits: LengthLimits) -> Iterator[tuple[BinaryIO, Any]]:
    """The open file, and its `SequentialFile`; or, of a container, its `ContainerSound`.

    libsndfile comes first: what it reads, such as a caf with PCM, needs no other process.

    Raises:
        AudioError: it is no audio, or cannot be read.
    """
    with _audio_errors(path), ExitStack() as stack:
        try:
            raw, sound = stack.enter_context(open_sound(path, view))
        except soundfile.LibsndfileError:
            raw = stack.enter_context(path.open("rb"))
            if not view.is_plain or (container := container_of(raw.fileno())) is None:
                raise
            sound = stack.enter_context(
                ContainerSound(
                    raw,
                    container,
                    max_frames=limits.n_samples,
                    max_duration_s=limits.duration_s,
                )
            )
        yield raw, sound


def first_look(path: Path) -> FirstLook:
    """The `FirstLook` of a file; to be called before it is opened.

    Raises:
        AudioError: there is no such file, it is empty, or cannot be read.
    """
    if path.name.startswith("._"):
        raise AudioError(path, "not audio", "an AppleDouble file, left behind by macOS")
    with _audio_errors(path):
        if not path.is_file():  # opening a pipe would block
            detail = "it is not a file" if path.exists() else "there is no such file"
            raise AudioError(path, "missing", detail)
        with path.open("rb", buffering=0) as raw:
            n_bytes, head = file_size(raw), raw.read(4)
            if n_bytes == 0:
                raise AudioError(path, "empty", "0 bytes")
            may_be_mp3 = head not in _OTHER_THAN_MP3 and container_of(raw.fileno()) is None
            return FirstLook(n_bytes, sample_bytes(raw), may_be_mp3)


def sound_header(path: Path, sound: Any) -> AudioHeader:
    """The header of an open file.

    Raises:
        AudioError: it is out of bounds, or there are no samples.
    """
    # libsndfile gives the largest number for a FLAC stream without a length
    n_frames = sound.frames if sound.frames < UNKNOWN_FRAMES else None
    header = AudioHeader(sound.samplerate, sound.channels, n_frames, sound.format)
    rate, channels = header.sample_rate, header.n_channels
    if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        allowed = f"allowed are {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz"
        raise AudioError(path, "absurd header", f"sample rate {rate} Hz; {allowed}")
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(path, "absurd header", f"{channels} channels; allowed are {MAX_CHANNELS}")
    if n_frames is not None and n_frames < 0:
        raise AudioError(path, "absurd header", f"{n_frames} samples; encode the file again")
    if n_frames == 0:
        raise AudioError(path, "empty", "no samples")
    return header


@contextmanager
def _audio_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except ContainerError as error:
        raise AudioError(path, error.problem, error.detail) from None
    except soundfile.LibsndfileError as error:
        raise AudioError(path, "undecodable", error_text(error)) from None
    except OSError as error:
        raise AudioError(path, "unreadable", error.strerror or str(error)) from None
