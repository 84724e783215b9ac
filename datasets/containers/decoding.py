"""Decodes the sound of one container with PyAV (FFmpeg), in the decoder process.

Only the demuxers and decoders listed here are ever opened: no playlist, no picture, no video. The
demuxer is given, not guessed, and may open nothing but the file.
"""

import errno
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import IO, Any

import av
import av.subtitles.stream  # av.open imports it, when no more files can be opened

from chorale.datasets.containers.limits import MEMORY_BYTES

DEMUXERS = frozenset({"mov", "matroska", "asf", "aac", "amr", "caf"})
# fmt: off
DECODERS = frozenset({
    "aac", "aac_latm", "alac", "opus", "libopus", "vorbis", "libvorbis", "flac", "mp3", "mp3float",
    "ac3", "eac3", "wmav1", "wmav2", "wmapro", "wmavoice", "wmalossless",
    "amrnb", "amrwb", "libopencore_amrnb", "libopencore_amrwb", "pcm_alaw", "pcm_mulaw",
    "pcm_u8", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be",
    "pcm_f32le", "pcm_f32be", "pcm_f64le", "pcm_f64be",
})
# fmt: on
"""By FFmpeg's names."""

MAX_BAD_SHARE = 0.01
"""A file with a larger share (0 to 1) of damaged packets is refused; fewer are left out."""

_BLOCK_FRAMES = 2**16

Block = list[bytes]
"""Samples: of each channel where they are planar, otherwise one entry with all, interleaved."""


class Refused(Exception):  # noqa: N818 - a decision, not a fault
    """A file that is not decoded; its text is one line of detail."""


@dataclass(frozen=True)
class SoundHeader:
    """What the first decoded samples have; `sample_format` is FFmpeg's name, such as "fltp".

    `stated_frames` is the number of frames that the container states, 0 where it states none.
    """

    sample_rate: int
    n_channels: int
    sample_format: str
    codec: str
    stated_frames: int
    tags: dict[str, str]


def decode(
    file: IO[bytes], demuxer: str, progress: Callable[[], None]
) -> Iterator[tuple[SoundHeader, int, Block]]:
    """The first sound track: its header, and the number of frames and samples of each block.

    A file that was cut off gives what it has. `progress` is called at each decoded packet.

    Raises:
        Refused: it has no sound that is read, or it is damaged.
    """
    file.seek(0)
    try:
        with closing(open_container(file, demuxer)) as container:
            yield from _blocks(container, progress)
    except MemoryError:
        raise _too_much_memory() from None
    except OSError as error:  # FFmpeg's errors are OSErrors, too
        if error.errno == errno.ENOMEM:
            raise _too_much_memory() from None
        raise Refused(error.strerror or str(error)) from None
    except (ValueError, OverflowError) as error:
        raise Refused(" ".join(str(error).split())) from None


def open_container(file: IO[bytes], demuxer: str) -> Any:
    """Opens a file with the given demuxer, which may open no other file and no URL.

    Raises:
        Refused: the demuxer is not one of `DEMUXERS`.
        av.FFmpegError: the file is damaged.
    """
    if demuxer not in DEMUXERS:
        raise Refused(f"files of the format '{demuxer}' are not read")
    options = {
        "protocol_whitelist": "",
        "format_whitelist": demuxer,
        "codec_whitelist": ",".join(sorted(DECODERS)),
    }
    return av.open(file, format=demuxer, options=options, metadata_errors="replace")


def _blocks(
    container: Any, progress: Callable[[], None]
) -> Iterator[tuple[SoundHeader, int, Block]]:
    if not container.streams.audio:
        raise Refused("it has no sound track")
    stream = container.streams.audio[0]
    codec = stream.codec_context
    if codec is None or codec.name not in DECODERS:
        raise Refused(f"its codec is not read ({codec.name if codec else 'unknown'})")
    codec.thread_count = 1
    header: SoundHeader | None = None
    parts: list[Block] = []
    n_frames = 0
    for frame in _frames(container, stream, progress):
        found = (frame.sample_rate, frame.layout.nb_channels, frame.format.name)
        if header is None:
            stated = (
                stream.duration * stream.time_base * frame.sample_rate if stream.duration else 0
            )
            header = SoundHeader(*found, codec.name, int(stated), _tags(container, stream))
        if found != (header.sample_rate, header.n_channels, header.sample_format):
            raise Refused("its sample rate or its channels change within the file")
        n_bytes = frame.samples * frame.format.bytes
        n_bytes *= 1 if frame.format.is_planar else frame.layout.nb_channels
        parts.append([bytes(memoryview(plane)[:n_bytes]) for plane in frame.planes])
        n_frames += frame.samples
        if n_frames >= _BLOCK_FRAMES:
            yield header, n_frames, _joined(parts)
            parts, n_frames = [], 0
    if header is None:
        raise Refused(f"none of its sound ({codec.name})")
    if parts:
        yield header, n_frames, _joined(parts)


def _frames(container: Any, stream: Any, progress: Callable[[], None]) -> Iterator[Any]:
    n_packets = n_bad = 0
    for packet in _packets(container, stream):
        n_packets += 1
        try:
            frames = packet.decode()
        except (av.InvalidDataError, av.EOFError):
            n_bad += 1
            continue
        for frame in frames:
            if frame.samples:
                progress()
                yield frame
    if n_bad > max(1, MAX_BAD_SHARE * n_packets):
        raise Refused(f"{n_bad} of its {n_packets} packets are damaged")


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """Ends where a file that was cut off ends."""
    packets = container.demux(stream)
    n_packets = 0
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except OSError as error:
            if error.errno == errno.ENOMEM or not n_packets:
                raise
            return
        n_packets += 1
        yield packet


def _joined(parts: list[Block]) -> Block:
    return [b"".join(plane) for plane in zip(*parts, strict=True)]


def _tags(container: Any, stream: Any) -> dict[str, str]:
    found = {**stream.metadata, **container.metadata}
    return {name.lower()[:100]: text[:1000] for name, text in list(found.items())[:100]}


def _too_much_memory() -> Refused:
    return Refused(f"decoding it takes more than {MEMORY_BYTES // 2**20} MB of memory")
