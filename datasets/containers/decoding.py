"""Decodes the sound of one container with PyAV (FFmpeg), in the decoder process.

Only the demuxers and decoders listed here are ever opened: no playlist, no picture, no video. The
demuxer is given, not guessed, and may open nothing but the file.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
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

MAX_PADDING = 4_096
"""Frames of two packets of AAC with spectral band replication."""

ESTIMATED = frozenset({"aac", "amr"})
"""Demuxers for which FFmpeg estimates the duration by the bit rate."""

MAX_DAMAGED_SHARE = 0.01
"""A file with a larger share (0 to 1) of damaged packets is refused; fewer are left out."""

_BLOCK_FRAMES = 2**16
# tags may not be UTF-8; PyAV 19 has no other way to read them
_TOLERANT: dict[str, Any] = (
    {"metadata_errors": "surrogateescape"} if int(av.__version__.partition(".")[0]) < 19 else {}
)

SampleBlock = list[bytes]
"""Samples: of each channel where they are planar, otherwise one entry with all, interleaved."""


class RefusedFile(Exception):  # noqa: N818 - a decision, not a fault
    """A file that is not decoded; its text is one line of detail."""


@dataclass(frozen=True)
class SoundHeader:
    """What the first decoded samples have; `sample_format` is FFmpeg's name, such as "fltp".

    `stated_frames` is the number of frames that the container states, 0 where it states none. The
    header of the last block has the number of packets, and how many were damaged and left out.
    """

    sample_rate: int
    n_channels: int
    sample_format: str
    codec: str
    stated_frames: int
    tags: dict[str, str]
    n_packets: int = 0
    n_damaged: int = 0


def decode_container(
    file: IO[bytes], demuxer: str, progress: Callable[[], None]
) -> Iterator[tuple[SoundHeader, int, SampleBlock]]:
    """The first sound track: its header, and the number of frames and samples of each block.

    A file that was cut off gives what it has. `progress` is called at each decoded packet.

    Raises:
        RefusedFile: it has no sound that is read, or it is damaged.
    """
    file.seek(0)
    try:
        with closing(open_container(file, demuxer)) as container:
            yield from _blocks(container, progress)
    except MemoryError:
        megabytes = MEMORY_BYTES // 2**20
        raise RefusedFile(f"decoding it takes more than {megabytes} MB of memory") from None
    except (av.FFmpegError, OSError) as error:
        raise RefusedFile(error.strerror or str(error)) from None
    except (ValueError, OverflowError) as error:
        raise RefusedFile(" ".join(str(error).split())) from None


def open_container(file: IO[bytes], demuxer: str) -> Any:
    """Opens a file with the given demuxer, which may open no other file and no URL.

    Raises:
        RefusedFile: the demuxer is not one of `DEMUXERS`.
        av.FFmpegError: the file is damaged.
    """
    if demuxer not in DEMUXERS:
        raise RefusedFile(f"files of the format '{demuxer}' are not read")
    options = {
        "protocol_whitelist": "",
        "format_whitelist": demuxer,
        "codec_whitelist": ",".join(sorted(DECODERS)),
    }
    return av.open(file, format=demuxer, options=options, **_TOLERANT)


def _blocks(
    container: Any, progress: Callable[[], None]
) -> Iterator[tuple[SoundHeader, int, SampleBlock]]:
    if not container.streams.audio:
        raise RefusedFile("it has no sound track")
    stream = container.streams.audio[0]
    codec = stream.codec_context
    if codec is None or codec.name not in DECODERS:
        raise RefusedFile(f"its codec is not read ({codec.name if codec else 'unknown'})")
    codec.thread_count = 1
    header: SoundHeader | None = None
    parts: list[SampleBlock] = []
    n_frames = n_given = 0
    packets = _Packets(container, stream)
    for frame in packets.frames():
        progress()
        found = (frame.sample_rate, frame.layout.nb_channels, frame.format.name)
        if header is None:
            stated_frames = int(_stated_s(container, stream) * frame.sample_rate)
            header = SoundHeader(*found, codec.name, stated_frames, _tags(container, stream))
        if found != (header.sample_rate, header.n_channels, header.sample_format):
            raise RefusedFile("its sample rate or its channels change within the file")
        if n_frames >= _BLOCK_FRAMES:
            yield header, n_frames, _joined(parts)
            n_given += n_frames
            parts, n_frames = [], 0
        n_bytes = frame.samples * frame.format.bytes
        n_bytes *= 1 if frame.format.is_planar else frame.layout.nb_channels
        parts.append([bytes(memoryview(plane)[:n_bytes]) for plane in frame.planes])
        n_frames += frame.samples
    if header is None:
        raise RefusedFile(f"none of its sound can be decoded ({codec.name})")
    if packets.n_damaged > max(1, MAX_DAMAGED_SHARE * packets.n):
        raise RefusedFile(f"{packets.n_damaged} of its {packets.n} packets are damaged")
    # at least one frame is left, as a block is only given when another frame follows
    last = replace(header, n_packets=packets.n, n_damaged=packets.n_damaged)
    n_kept = n_frames - min(_padding(container, header, n_given + n_frames), n_frames - 1)
    yield last, n_kept, [plane[: n_kept * len(plane) // n_frames] for plane in _joined(parts)]


class _Packets:
    """The packets of a stream, and how many of them were damaged."""

    def __init__(self, container: Any, stream: Any) -> None:
        self.n = self.n_damaged = 0
        self._packets = container.demux(stream)

    def frames(self) -> Iterator[Any]:
        """The decoded frames that have samples; they end where a file that was cut off ends."""
        while (packet := self._next()) is not None:
            self.n += packet.size > 0  # the last one is empty: it asks the decoder for the rest
            try:
                frames = packet.decode()
            except MemoryError:
                raise
            except av.FFmpegError:
                self.n_damaged += packet.size > 0
                continue
            yield from (frame for frame in frames if frame.samples)

    def _next(self) -> Any:
        try:
            return next(self._packets, None)
        except MemoryError:
            raise
        except av.FFmpegError:
            if not self.n:
                raise
            return None


def _stated_s(container: Any, stream: Any) -> Fraction:
    """The duration in seconds that the container states, 0 where it states none."""
    if container.format.name in ESTIMATED:
        return Fraction(0)
    if stream.duration and stream.time_base:
        return Fraction(stream.duration * stream.time_base)
    return Fraction(container.duration or 0, av.time_base)


def _padding(container: Any, header: SoundHeader, n_frames: int) -> int:
    """Frames behind the end that an MP4 states, which fill a codec's last packet.

    FFmpeg 9 leaves them out, FFmpeg 8 does not.
    """
    n_more = n_frames - header.stated_frames
    is_exact = container.format.name.startswith("mov") and header.stated_frames
    return n_more if is_exact and 0 < n_more <= MAX_PADDING else 0


def _joined(parts: list[SampleBlock]) -> SampleBlock:
    return [b"".join(plane) for plane in zip(*parts, strict=True)]


def _tags(container: Any, stream: Any) -> dict[str, str]:
    found = {**stream.metadata, **container.metadata}
    read = {_valid(name).lower()[:100]: _valid(text)[:1000] for name, text in found.items()}
    return dict(list(read.items())[:100])


def _valid(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
