"""The reader on checkpoints that `write_checkpoint` writes, whole and damaged."""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chorale.datasets.programs.exported_program import ProgramError
from chorale.datasets.programs.tensorflow_checkpoint import read_checkpoint
from tests.datasets.programs.checkpoint_files import (
    MAGIC,
    block,
    entry,
    message,
    number,
    table,
    varint,
    write_checkpoint,
)

TENSORS: Mapping[str, Any] = {
    "conv/bias": np.arange(3, dtype=np.float32),
    "conv/kernel": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "count": np.array(7, np.int64),
    "dense": np.arange(300, dtype=np.float64).reshape(150, 2),
}


def test_tensors_are_read(tmp_path: Path) -> None:
    found = read_checkpoint(*write_checkpoint(tmp_path, TENSORS))
    assert found.keys() == TENSORS.keys()
    for name, values in TENSORS.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_array_equal(found[name], values)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (entry(1, (3,), 0, 16), "size of 'conv/bias' is not that of its shape"),
        (entry(1, (2**39,), 0, 2**41), "beyond the end of its data"),
        (entry(1, (3,), 10**6, 12), "beyond the end of its data"),
        (entry(1, (2**41,), 0, 12), "a shape is invalid"),
        (entry(1, (1,) * 17, 0, 4), "a shape is invalid"),
        (entry(10, (3,), 0, 3), "type 10, which is not read"),
        (entry(1, (3,), 0, 12, shard=1), "is damaged"),
        (entry(1, (3,), 0, 12) + message(7, b""), "in slices"),
        (entry(1, (3,), 0, 12) + number(9, 1), "is invalid"),
        (entry(1, (3,), 0, 12) + varint(9 << 3 | 3), "unknown type"),
        (message(2, b"")[:1] + varint(99), "beyond the end"),
        (b"\xff" * 11, "cut off or too large"),
    ],
)
def test_a_damaged_entry_is_an_error(tmp_path: Path, made: bytes, why: str) -> None:
    files = write_checkpoint(tmp_path, TENSORS, entries={"conv/bias": made})
    with pytest.raises(ProgramError, match=why):
        read_checkpoint(*files)


def test_a_truncated_data_file_is_an_error(tmp_path: Path) -> None:
    index, data = write_checkpoint(tmp_path, TENSORS)
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(ProgramError, match="'dense' is beyond the end"):
        read_checkpoint(index, data)


def test_other_files_are_no_index(tmp_path: Path) -> None:
    index, data = write_checkpoint(tmp_path, TENSORS)
    for content in (b"", b"x" * 100, index.read_bytes()[:-1]):
        index.write_bytes(content)
        with pytest.raises(ProgramError, match="is no index"):
            read_checkpoint(index, data)


def test_a_compressed_index_is_an_error(tmp_path: Path) -> None:
    index, data = write_checkpoint(tmp_path, TENSORS)
    index.write_bytes(table([(b"a", b""), (b"b", b"")], compression=1))
    with pytest.raises(ProgramError, match="compressed"):
        read_checkpoint(index, data)


def test_names_out_of_order_are_an_error(tmp_path: Path) -> None:
    index, data = write_checkpoint(tmp_path, TENSORS)
    same = entry(3, (), 0, 4)
    index.write_bytes(table([(b"b", same), (b"a", same)]))
    with pytest.raises(ProgramError, match="not in order"):
        read_checkpoint(index, data)


def test_an_index_without_tensors_is_an_error(tmp_path: Path) -> None:
    index, data = write_checkpoint(tmp_path, TENSORS)
    listing = block([])
    footer = varint(0) * 2 + varint(0) + varint(len(listing) - 5)
    index.write_bytes(listing + footer.ljust(40, b"\0") + struct.pack("<Q", MAGIC))
    with pytest.raises(ProgramError, match="has no tensors"):
        read_checkpoint(index, data)


def test_no_changed_byte_raises_another_exception(tmp_path: Path) -> None:
    index, data = write_checkpoint(tmp_path, TENSORS)
    whole, rng = index.read_bytes(), np.random.default_rng(0)
    errors = []
    for i in range(len(whole)):
        changed = bytearray(whole)
        changed[i] ^= int(rng.integers(1, 256))
        index.write_bytes(changed)
        try:
            read_checkpoint(index, data)
        except ProgramError as error:
            errors.append(str(error))
    assert len(errors) > len(whole) / 3
    assert not any("\n" in error for error in errors)
