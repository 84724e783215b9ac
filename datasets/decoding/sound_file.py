"""Opens sound files for libsndfile in such a way that it reads them to their end.

`datasets.decoding.decode` uses it. libsndfile reads as many samples as the header states, or as it
estimates: an MP3 without a count (a VBR stream without a Xing frame) ends at the length that the
mean size of its first frames gives, though the file goes on.

The decoder itself would go on; only the count stops it. So a file that is not finished at its count
is shown to libsndfile through a virtual file whose header states a larger one: an MP3's Xing frame,
the unknown length of a FLAC, the size of a wav's samples. An MP3 without any count is shown as a
file of 64 times its size, so that the estimate is too large, whatever the first frames are like:
bit rates differ by a factor of 40 at most. No frame has to be counted.

Not done otherwise, with libsndfile 1.2: a read or a seek past the count gives nothing; a pipe has
no length, but needs a thread that feeds it, and an MP3 with a large tag is not recognised in it;
counting the frames here would be a second parser to keep right.
"""

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import soundfile

from chorale.datasets.decoding.frames import flac_without_count, mp3_count, mp3_frames_at_most

UNKNOWN_FRAMES = 2**62
"""libsndfile gives this number of samples or more where the header states none."""

_STRETCH = 64
_TAIL = 128  # mpg123 looks for an ID3v1 tag there; it finds zeros behind a stretched file


@dataclass(frozen=True)
class FileView:
    """A file as libsndfile sees it: other bytes at some offsets, and `stretch` times as long."""

    patches: Mapping[int, bytes] = field(default_factory=dict)
    stretch: int = 1

    @property
    def is_plain(self) -> bool:
        """Whether it is the file itself."""
        return not self.patches and self.stretch == 1


class SequentialFile(soundfile.SoundFile):  # type: ignore[misc]  # has no types here
    """A sound file that is only read from its start to its end.

    soundfile seeks after each block of a seekable file, to where it is anyway: that takes time, and
    fails in a FLAC of unknown length.
    """

    messages: tuple[str, ...] = ()
    """as those of a `ContainerSound`; libsndfile has none"""

    def seekable(self) -> bool:
        """False: `read` must not seek."""
        return False


@contextmanager
def open_sound(path: Path, view: FileView) -> Iterator[tuple[BinaryIO, Any]]:
    """The open file, and its `SequentialFile`.

    It is opened by file descriptor, because libsndfile relies on the file name: given a path, it
    treats any file called `.au` or `.snd` whose header it cannot parse as headerless mu-law, and
    decodes it to noise.

    Raises:
        soundfile.LibsndfileError: libsndfile cannot read it.
        OSError: the file cannot be read.
    """
    with path.open("rb", buffering=0 if view.is_plain else -1) as raw:
        if view.is_plain:
            with SequentialFile(raw.fileno(), closefd=False) as sound:
                yield raw, sound
            return
        viewed = _ViewedFile(raw, view)
        with SequentialFile(viewed) as sound:
            yield raw, sound
        if viewed.error is not None:
            raise viewed.error


def view_beyond_count(path: Path, file_format: str) -> FileView:
    """How to decode a file beyond the count at which libsndfile stops."""
    if file_format == "FLAC":
        return FileView(flac_without_count(path))
    if file_format != "MP3":
        return FileView()
    if (count := mp3_count(path)) is None:
        return FileView(stretch=_STRETCH)
    return FileView({count: mp3_frames_at_most(path).to_bytes(4, "big")})


class _ViewedFile(io.RawIOBase):
    """A `FileView` of an open file, for reading.

    An error of the file is kept in `error` and ends the file: libsndfile's callbacks cannot raise.
    """

    def __init__(self, raw: BinaryIO, view: FileView) -> None:
        super().__init__()
        self.error: OSError | None = None
        self._raw = raw
        self._patches = view.patches
        self._size = os.fstat(raw.fileno()).st_size
        self._seen_size = self._size * view.stretch
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._seen_size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        wanted = memoryview(buffer).cast("B")
        if self._at >= self._size:  # the end, unless the tag at the end of a stretched file is read
            in_tail = self._seen_size - _TAIL <= self._at < self._seen_size
            data = bytes(min(len(wanted), self._seen_size - self._at) if in_tail else 0)
        else:
            data = self._read(len(wanted))
        wanted[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _read(self, n_bytes: int) -> bytes:
        try:
            self._raw.seek(self._at)
            data = self._raw.read(n_bytes)
        except OSError as error:
            self.error = error
            return b""
        for offset, patch in self._patches.items():
            start = max(offset, self._at)
            stop = min(offset + len(patch), self._at + len(data))
            if start < stop:
                part = patch[start - offset : stop - offset]
                data = data[: start - self._at] + part + data[stop - self._at :]
        return data
