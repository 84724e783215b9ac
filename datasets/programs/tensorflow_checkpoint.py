"""Reads the tensors of a TensorFlow checkpoint (`.index` and `.data-00000-of-00001`) with NumPy.

The index is a sorted string table: blocks of keys and values, then a block that lists the blocks.
Each key is a tensor's name; its value, a protocol buffer, is its type, its shape, and where it is
in the data. Every offset, length and number is checked, so that no file causes more than an error.

Source: the format of LevelDB's tables, https://github.com/google/leveldb/blob/main/doc/
table_format.md, and of `BundleEntryProto`, https://github.com/tensorflow/tensorflow/blob/master/
tensorflow/core/protobuf/tensor_bundle.proto.
"""

import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from chorale.datasets.programs.exported_program import ProgramError

_MAGIC = 0xDB4775248B80FB57
_FOOTER_BYTES = 48
_TRAILER_BYTES = 5  # of a block: its compression, and a checksum
_MAX_INDEX_BYTES = 64 * 1024**2
_MAX_DIMENSIONS = 16

_DTYPES: Mapping[int, np.dtype[Any]] = {
    1: np.dtype("<f4"),
    2: np.dtype("<f8"),
    3: np.dtype("<i4"),
    9: np.dtype("<i8"),
}
"""TensorFlow's number of a type -> the type."""

# the wire types of protocol buffers
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class _Entry(NamedTuple):
    """Where a tensor is in the data."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int
    size: int


def read_checkpoint(index: Path, data: Path) -> dict[str, npt.NDArray[Any]]:
    """The tensors of a checkpoint that has one data file, by name.

    Args:
        index: the file that ends with `.index`.
        data: the file that ends with `.data-00000-of-00001`.

    Raises:
        ProgramError: the files are damaged, are no checkpoint, or have another type of numbers than
            float32, float64, int32 and int64.
        OSError: a file cannot be read.
    """
    if index.stat().st_size > _MAX_INDEX_BYTES:
        raise ProgramError(f"has an index of more than {_MAX_INDEX_BYTES} bytes")
    content = data.read_bytes()
    tensors = {}
    for key, value in _table(index.read_bytes()):
        if not key:
            _require_one_shard(value)
            continue
        name = _text(key)
        entry = _entry(name, value)
        if entry.offset + entry.size > len(content):
            raise ProgramError(f"is damaged ('{name:.80}' is beyond the end of its data)")
        flat = np.frombuffer(content, entry.dtype, math.prod(entry.shape), entry.offset)
        tensors[name] = flat.reshape(entry.shape)
    if not tensors:
        raise ProgramError("has no tensors")
    return tensors


def _table(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a sorted string table."""
    footer = content[-_FOOTER_BYTES:]
    if len(footer) < _FOOTER_BYTES or struct.unpack("<Q", footer[-8:])[0] != _MAGIC:
        raise ProgramError("is no index of a TensorFlow checkpoint")
    _, _, at = _handle(footer, 0)  # of a block with statistics
    offset, size, _ = _handle(footer, at)
    before = None
    for _, value in _block(content, offset, size):
        for key, found in _block(content, *_handle(value, 0)[:2]):
            if before is not None and key <= before:
                raise ProgramError("is damaged (its tensors are not in order)")
            before = key
            yield key, found


def _handle(content: bytes, at: int) -> tuple[int, int, int]:
    """Offset and size of a block, and where the next handle begins."""
    offset, at = _varint(content, at)
    size, at = _varint(content, at)
    return offset, size, at


def _block(content: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """The entries of a block; a key is stored without what it shares with the one before."""
    if offset + size + _TRAILER_BYTES > len(content):
        raise ProgramError("is damaged (a block is beyond its end)")
    block = content[offset : offset + size]
    if content[offset + size] != 0:
        raise ProgramError("is compressed, which TensorFlow does not do")
    if size < 4:
        raise ProgramError("is damaged (a block is too short)")
    n_restarts = struct.unpack("<I", block[-4:])[0]
    end = size - 4 - 4 * n_restarts
    if end < 0:
        raise ProgramError("is damaged (a block is too short)")
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        length, at = _varint(block, at)
        if shared > len(key) or at + own + length > end:
            raise ProgramError("is damaged (a key is beyond its block)")
        key = key[:shared] + block[at : at + own]
        at += own
        yield key, block[at : at + length]
        at += length


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A number of up to 64 bits, 7 in a byte, and where the next value begins."""
    value = 0
    for i in range(10):
        if at + i >= len(content):
            break
        value |= (content[at + i] & 0x7F) << 7 * i
        if content[at + i] < 0x80:
            if value >= 2**64:
                break
            return value, at + i + 1
    raise ProgramError("is damaged (a number is cut off or too large)")


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field of a protocol buffer."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        n_bytes = {_FIXED64: 8, _FIXED32: 4}.get(kind, 0)
        if kind == _BYTES:
            n_bytes, at = _varint(message, at)
        if n_bytes == 0 and kind != _BYTES:
            raise ProgramError("is damaged (it has a field of an unknown type)")
        if at + n_bytes > len(message):
            raise ProgramError("is damaged (a field is beyond the end)")
        yield tag >> 3, message[at : at + n_bytes]
        at += n_bytes


def _require_one_shard(header: bytes) -> None:
    values = dict(_fields(header))
    if values.get(1, 1) != 1 or values.get(2, 0) != 0:
        raise ProgramError("has several data files, or is of a big-endian machine")


def _entry(name: str, message: bytes) -> _Entry:
    numbers = {1: 0, 3: 0, 4: 0, 5: 0}
    shape: tuple[int, ...] = ()
    for field, value in _fields(message):
        if field in numbers and isinstance(value, int):
            numbers[field] = value
        elif field == 2 and isinstance(value, bytes):
            shape = _shape(value)
        elif field == 7:
            raise ProgramError(f"has '{name:.80}' in slices")
        elif field != 6:  # the checksum
            raise ProgramError(f"is damaged (the entry of '{name:.80}' is invalid)")
    number, shard, offset, size = (numbers[field] for field in (1, 3, 4, 5))
    if number not in _DTYPES:
        raise ProgramError(f"has '{name:.80}' of TensorFlow's type {number}, which is not read")
    dtype = _DTYPES[number]
    if shard != 0 or size != math.prod(shape) * dtype.itemsize:
        raise ProgramError(f"is damaged (the size of '{name:.80}' is not that of its shape)")
    return _Entry(dtype, shape, offset, size)


def _shape(message: bytes) -> tuple[int, ...]:
    """The lengths of a `TensorShapeProto`."""
    shape = []
    for field, value in _fields(message):
        if field != 2 or not isinstance(value, bytes):
            raise ProgramError("is damaged (a shape is invalid)")
        length = dict(_fields(value)).get(1, 0)
        if not isinstance(length, int) or length >= 2**40:
            raise ProgramError("is damaged (a shape is invalid)")
        shape.append(length)
    if len(shape) > _MAX_DIMENSIONS:
        raise ProgramError("is damaged (a shape is invalid)")
    return tuple(shape)


def _text(key: bytes) -> str:
    try:
        return key.decode("utf-8")
    except UnicodeDecodeError:
        raise ProgramError("is damaged (a name is no text)") from None
