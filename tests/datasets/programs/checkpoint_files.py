"""Writes checkpoints in TensorFlow's format, so that tests need no TensorFlow."""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MAGIC = 0xDB4775248B80FB57
TYPES = {"float32": 1, "float64": 2, "int32": 3, "int64": 9, "bool": 10}


def varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def message(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def entry(dtype: int, shape: tuple[int, ...], offset: int, size: int, *, shard: int = 0) -> bytes:
    dims = b"".join(message(2, number(1, n)) for n in shape)
    text = number(1, dtype) + message(2, dims) + number(3, shard) + number(4, offset)
    return text + number(5, size) + varint(6 << 3 | 5) + bytes(4)


def block(pairs: list[tuple[bytes, bytes]], *, compression: int = 0) -> bytes:
    out, before = b"", b""
    for key, value in pairs:
        shared = 0
        while shared < min(len(before), len(key)) and before[shared] == key[shared]:
            shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:]
        out, before = out + value, key
    return out + struct.pack("<II", 0, 1) + bytes([compression]) + bytes(4)


def table(pairs: list[tuple[bytes, bytes]], *, compression: int = 0) -> bytes:
    """A table of two blocks, an empty block of statistics, and a block that lists the two."""
    out, handles = b"", []
    half = (len(pairs) + 1) // 2
    for part in (pairs[:half], pairs[half:]):
        made = block(part, compression=compression)
        handles.append((part[-1][0], varint(len(out)) + varint(len(made) - 5)))
        out += made
    meta, listing = block([]), block(handles)
    footer = varint(len(out)) + varint(len(meta) - 5)
    footer += varint(len(out) + len(meta)) + varint(len(listing) - 5)
    return out + meta + listing + footer.ljust(40, b"\0") + struct.pack("<Q", MAGIC)


def write_checkpoint(
    folder: Path, tensors: Mapping[str, Any], *, entries: Mapping[str, bytes] | None = None
) -> tuple[Path, Path]:
    """A checkpoint in TensorFlow's format; `entries` replaces what the index says of a tensor."""
    data, pairs = b"", [(b"", number(1, 1) + message(3, number(1, 1)))]
    for name in sorted(tensors):
        values = tensors[name]
        made = entry(TYPES[str(values.dtype)], values.shape, len(data), values.nbytes)
        pairs.append((name.encode(), (entries or {}).get(name, made)))
        data += values.tobytes()
    index, content = folder / ".index", folder / ".data-00000-of-00001"
    index.write_bytes(table(pairs))
    content.write_bytes(data)
    return index, content
