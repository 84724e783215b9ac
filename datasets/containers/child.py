"""Program of the decoder process: decodes the files that it is sent, one after the other.

Started by `datasets.containers.process` as `python -m chorale.datasets.containers.child FD`, with
its end of a socket. It imports no NumPy, so that it starts in 0.3 s and takes 40 MB.
"""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from typing import IO, TYPE_CHECKING, Any

from chorale.datasets.containers import limits
from chorale.datasets.processes.messages import receive_file, receive_json, send, send_json

if TYPE_CHECKING:
    from chorale.datasets.containers.decoding import SampleBlock, SoundHeader

KEPT_BYTES = 32 * 2**20
"""Samples of a file up to this size are kept, so that its header and they take one decoding."""

_PROGRESS_FRAMES = 2**23
_SOCKET = limits.N_DESCRIPTORS - 2


class CountedFile:
    """A file of which all samples were decoded and counted.

    `header` is that of its sound and the number of its frames, `n_frames`.
    """

    def __init__(self, file: IO[bytes], request: dict[str, Any], channel: socket.socket) -> None:
        """Decodes it; stops where there are more samples than the request allows.

        Raises:
            RefusedFile: it cannot be decoded.
        """
        self.header: dict[str, Any] = {}
        self._demuxer = str(request["demuxer"])
        self._kept: list[tuple[int, SampleBlock]] | None = []
        n_frames = n_bytes = n_reported = 0
        for header, n_block, block in self._decode(file):
            n_frames += n_block
            limit = min(request["max_frames"], int(request["max_duration_s"] * header.sample_rate))
            if header.stated_frames > limit:
                n_frames = max(n_frames, header.stated_frames)
            self.header = asdict(header) | {"n_frames": n_frames}
            if n_frames > limit:
                break
            n_bytes += sum(map(len, block))
            if n_bytes > KEPT_BYTES:
                self._kept = None
            elif self._kept is not None:
                self._kept.append((n_block, block))
            if n_frames - n_reported > _PROGRESS_FRAMES:
                send_json(channel, {"progress": n_frames})
                n_reported = n_frames

    def blocks(self, file: IO[bytes]) -> "Iterator[tuple[int, SampleBlock]]":
        """The number of frames and the samples of each block."""
        if self._kept is not None:
            return iter(self._kept)
        return ((n_frames, block) for _, n_frames, block in self._decode(file))

    def _decode(self, file: IO[bytes]) -> "Iterator[tuple[SoundHeader, int, SampleBlock]]":
        from chorale.datasets.containers.decoding import decode_container

        return decode_container(file, self._demuxer, limits.note_progress)


def serve(channel: socket.socket) -> None:
    """Answers requests until the other end is closed.

    A request is JSON and an open file. The answer is the header, or with `samples` each block: the
    number of its frames, then its samples; 0 frames end them. Others tell of progress.
    """
    from chorale.datasets.containers.decoding import RefusedFile

    known: tuple[object, CountedFile] | None = None
    while True:
        request = receive_json(channel)
        with os.fdopen(receive_file(channel), "rb") as file:
            key = _key(file, request)
            limits.limit_file()
            try:
                if known is None or known[0] != key:
                    known = None  # frees its samples
                    known = key, CountedFile(file, request, channel)
                if request["samples"]:
                    _send_samples(channel, known[1].blocks(file))
                else:
                    send_json(channel, known[1].header)
            except RefusedFile as refusal:
                send_json(channel, {"refused": str(refusal)})
            finally:
                limits.end_file()


def _key(file: IO[bytes], request: dict[str, Any]) -> object:
    status = os.fstat(file.fileno())
    content = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    return content, {name: value for name, value in request.items() if name != "samples"}


def _send_samples(channel: socket.socket, blocks: "Iterator[tuple[int, SampleBlock]]") -> None:
    for n_frames, planes in blocks:
        send_json(channel, {"n_frames": n_frames})
        for plane in planes:
            send(channel, plane)
    send_json(channel, {"n_frames": 0})


def main(descriptor: int) -> None:
    """Limits the process once the decoder is imported, then answers requests.

    Args:
        descriptor: of the process's end of the socket.
    """
    if descriptor != _SOCKET:
        os.dup2(descriptor, _SOCKET)
        os.close(descriptor)
    with socket.socket(fileno=_SOCKET) as channel, suppress(EOFError, ConnectionError):
        try:
            import chorale.datasets.containers.decoding  # noqa: F401 - later no file can be opened
        except ImportError as error:
            send_json(channel, {"no_decoder": str(error)})
            return
        limits.limit_decoder()
        send_json(channel, {"ready": True})
        serve(channel)


if __name__ == "__main__":
    main(int(sys.argv[1]))
