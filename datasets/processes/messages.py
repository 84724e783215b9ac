"""Messages between a process and its child process: JSON, raw bytes and open files.

No pickle: the child process reads files that may be hostile.
"""

import json
import socket
import struct
from typing import Any

MAX_MESSAGE_BYTES = 2**26

_SIZE = struct.Struct(">I")


def send(channel: socket.socket, content: bytes) -> None:
    """Sends one message.

    Raises:
        OSError: the other end is closed, or does not receive within the channel's timeout.
    """
    channel.sendall(_SIZE.pack(len(content)))
    channel.sendall(content)


def receive(channel: socket.socket) -> bytes:
    """The next message.

    Raises:
        EOFError: the other end is closed, or what it sends is no message.
        OSError: nothing arrives within the channel's timeout.
    """
    (size,) = _SIZE.unpack(_exactly(channel, _SIZE.size))
    if size > MAX_MESSAGE_BYTES:
        raise EOFError(f"a message of {size} bytes")
    return _exactly(channel, size)


def send_json(channel: socket.socket, content: dict[str, Any]) -> None:
    """Sends one message of JSON; raises as `send`."""
    send(channel, json.dumps(content).encode())


def receive_json(channel: socket.socket) -> dict[str, Any]:
    """The next message, of JSON; raises as `receive`, and EOFError where it is no JSON object."""
    try:
        content = json.loads(receive(channel))
    except ValueError:
        raise EOFError("a message that is no JSON") from None
    if not isinstance(content, dict):
        raise EOFError("a message that is no JSON object")
    return content


def send_file(channel: socket.socket, descriptor: int) -> None:
    """Sends an open file, of which the receiver gets a descriptor of its own; raises as `send`."""
    socket.send_fds(channel, [b"f"], [descriptor])


def receive_file(channel: socket.socket) -> int:
    """The descriptor of a file that was sent; raises as `receive`."""
    content, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
    if content != b"f" or not descriptors:
        raise EOFError("no file was sent")
    return descriptors[0]


def _exactly(channel: socket.socket, size: int) -> bytes:
    received = bytearray(size)
    view, n_received = memoryview(received), 0
    while n_received < size:
        n_new = channel.recv_into(view[n_received:])
        if not n_new:
            raise EOFError("the other end is closed")
        n_received += n_new
    return bytes(received)
