"""A container that libsndfile does not read, with the interface of `soundfile.SoundFile`.

`datasets.audio` opens it by its content and reads from it as from any other file. Decoder processes
are kept for the next file.
"""

import atexit
import os
import shlex
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from importlib.util import find_spec
from types import TracebackType
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from chorale.datasets.audio_formats import FORMATS_OF_EXTENSION, Container
from chorale.datasets.containers.process import ContainerError, DecoderProcess

REQUIREMENT = "av>=18,<20"
"""What the extra `formats` adds."""

TOLERANCE_S = 0.5
"""A container may state so much more than can be decoded: some round up, or count padding."""

MAX_IDLE = 2
"""Idle decoder processes that a process keeps."""

_SAMPLE_FORMATS: Mapping[str, tuple[type, float, float]] = {
    "u8": (np.uint8, 2**7, 2**7),
    "s16": (np.int16, 0, 2**15),
    "s32": (np.int32, 0, 2**31),
    "flt": (np.float32, 0, 1),
    "dbl": (np.float64, 0, 1),
}
"""FFmpeg's sample format -> type, zero and full scale."""

_TAG_NAMES = {"track": "tracknumber", "encoder": "software"}  # to libsndfile's names

_idle: list[DecoderProcess] = []


class ContainerSound:
    """The first sound track of an open container.

    Opening it decodes all of it, since most containers do not state the exact number of samples.
    `frames` is the number of samples of one channel that are decoded, or more than are allowed;
    `stated_frames` is what the container states, 0 where it states nothing. `messages` tells what
    was left out.
    """

    subtype = "CONTAINER"

    def __init__(
        self, file: IO[bytes], container: Container, *, max_frames: int, max_duration_s: float
    ) -> None:
        """Opens it.

        Args:
            file: the open file.
            container: its format.
            max_frames: of one channel; decoding stops there.
            max_duration_s: likewise, in seconds.

        Raises:
            ContainerError: there is no decoder, or the file cannot be decoded.
        """
        if find_spec("av") is None:
            raise ContainerError("no decoder", _missing(container))
        self._file = file
        self._request = {
            "demuxer": container.demuxer,
            "max_frames": max_frames,
            "max_duration_s": max_duration_s,
        }
        self.format = container.name
        with _borrowed() as process:
            header = process.header(file, self._request)
        self.samplerate = int(header["sample_rate"])
        self.channels = int(header["n_channels"])
        self.frames = int(header["n_frames"])
        name = str(header["sample_format"])  # FFmpeg's: "fltp" is float, planar
        self._sample_format, self._is_planar = name.removesuffix("p"), name.endswith("p")
        if self._sample_format not in _SAMPLE_FORMATS:
            raise ContainerError("undecodable", f"as {self.format}: samples of type {name}")
        self.stated_frames = int(header["stated_frames"])
        self.messages = tuple(_messages(header))
        self._tags: dict[str, str] = dict(header["tags"])
        self._blocks = self._received()
        self._block = np.empty((0, self.channels), np.float32)

    def read(self, out: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Fills `out` (n, n_channels); returns the part of it that was filled.

        Raises:
            ContainerError: the file cannot be decoded.
        """
        n_done = 0
        while n_done < len(out):
            if not len(self._block):
                block = next(self._blocks, None)
                if block is None:
                    break
                self._block = block
            n_new = min(len(out) - n_done, len(self._block))
            out[n_done : n_done + n_new] = self._block[:n_new]
            self._block = self._block[n_new:]
            n_done += n_new
        return out[:n_done]

    def copy_metadata(self) -> dict[str, str]:
        """The tags, by libsndfile's names where it has one."""
        return {_TAG_NAMES.get(name, name): text for name, text in self._tags.items()}

    def __enter__(self) -> "ContainerSound":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._blocks.close()

    def _received(self) -> Generator[npt.NDArray[np.float32]]:
        """Blocks (n, n_channels); one is held back, so that the process is idle after the last."""
        held: npt.NDArray[np.float32] | None = None
        n_planes = self.channels if self._is_planar else 1
        with (
            _borrowed() as process,
            closing(process.samples(self._file, self._request, n_planes)) as samples,
        ):
            for planes in samples:
                if held is not None:
                    yield held
                held = self._converted(planes)
        if held is not None:
            yield held

    def _converted(self, planes: Sequence[bytes]) -> npt.NDArray[np.float32]:
        dtype, zero, full_scale = _SAMPLE_FORMATS[self._sample_format]
        each: list[npt.NDArray[Any]] = [np.frombuffer(plane, dtype) for plane in planes]
        block = np.stack(each, axis=1) if self._is_planar else each[0].reshape(-1, self.channels)
        if dtype == np.float32:
            return block
        scaled = block.astype(np.float64)
        return ((scaled - zero) / full_scale).astype(np.float32)


def _messages(header: Mapping[str, Any]) -> Iterator[str]:
    rate, n_frames, stated = (header[name] for name in ("sample_rate", "n_frames", "stated_frames"))
    if header["n_damaged"]:
        yield f"{header['n_damaged']} of {header['n_packets']} packets are damaged"
    if stated - n_frames > TOLERANCE_S * rate:
        yield f"{stated / rate:.1f} s are stated, but {n_frames / rate:.1f} s can be decoded"


def _missing(container: Container) -> str:
    endings = [name for name, formats in FORMATS_OF_EXTENSION.items() if container.name in formats]
    return (
        f"{', '.join(endings)} files need PyAV; type: "
        f"{shlex.join([sys.executable, '-m', 'pip', 'install', REQUIREMENT])}"
    )


@contextmanager
def _borrowed() -> Iterator[DecoderProcess]:
    """A decoder process, which is kept for the next file if it is still running."""
    process = _take()
    try:
        yield process
    finally:
        if process.is_running and len(_idle) < MAX_IDLE:
            _idle.append(process)
        else:
            process.end()


def _take() -> DecoderProcess:
    with suppress(IndexError):  # atomic, so that two threads cannot get the same one
        while True:
            process = _idle.pop()
            if process.is_running:
                return process
            process.end()
    return DecoderProcess()


@atexit.register
def _end_idle() -> None:
    while _idle:
        _idle.pop().end()


def _forget_idle() -> None:
    while _idle:
        _idle.pop().forget()


os.register_at_fork(after_in_child=_forget_idle)
