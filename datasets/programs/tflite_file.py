"""What a tflite file holds, read without its runtime: whether it can be run, and its tensors.

The format is a FlatBuffer: tables whose fields are found by offsets, all of which may be wrong in a
damaged file.

Source: schema of TensorFlow Lite, version 3,
https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs
and the FlatBuffers format, https://flatbuffers.dev/internals.
"""

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chorale.datasets.programs.exported_program import ProgramError

MAGIC = b"TFL3"

MAX_ENTRIES = 1_000_000
"""Entries of a vector, beyond which a file is damaged."""

_CUSTOM = 32  # the schema's BuiltinOperator
_OPERATOR_CODES, _SUBGRAPHS = 1, 2  # fields of the table Model
_TENSORS, _INPUTS, _OUTPUTS, _OPERATORS = range(4)  # of SubGraph
_TENSOR_NAME = 3  # of Tensor
_OPERATOR_OUTPUTS = 2  # of Operator
_OLD_CODE, _CUSTOM_CODE, _, _CODE = range(4)  # of OperatorCode

Content = bytes | bytearray | mmap.mmap


def check_tflite(path: Path) -> None:
    """Checks that a file is a tflite model of built-in operators with one input.

    Raises:
        ProgramError: it is not.
    """
    with _mapped(path) as content:
        if content[4:8] != MAGIC:
            raise ProgramError("is no tflite file (it has not 'TFL3' at byte 4)")
        with _damage():
            _check(_Table.root(content))


def with_output(content: bytes | bytearray, output: str | int) -> bytes:
    """The file with another output: the inner tensor of that name or index.

    An inner tensor is otherwise overwritten while the network runs.

    Args:
        content: of a file that `check_tflite` accepts.
        output: the name of a tensor that an operator computes, or its index.

    Raises:
        ProgramError: there is no such tensor.
    """
    with _damage():
        graph = _graph(_Table.root(content))
        tensors, at = graph.tables(_TENSORS), graph.vector(_OUTPUTS)[0]
        computed = {
            index
            for operator in graph.tables(_OPERATORS)
            for index in operator.int32s(_OPERATOR_OUTPUTS)
        }
        if isinstance(output, int):
            found = [output] if output in computed else []
        else:
            found = [i for i in sorted(computed) if tensors[i].text(_TENSOR_NAME) == output]
        if len(found) != 1:
            last = [tensors[index].text(_TENSOR_NAME) for index in sorted(computed)[-5:]]
            raise ProgramError(
                f"computes {len(found) or 'no'} tensors '{output!s:.80}'; the last are: "
                f"{', '.join(last):.400}"
            )
        changed = bytearray(content)
        struct.pack_into("<i", changed, at, found[0])
    return bytes(changed)


def _check(model: "_Table") -> None:
    graph = _graph(model)
    for code in model.tables(_OPERATOR_CODES):
        if max(code.int8(_OLD_CODE), code.int32(_CODE)) == _CUSTOM:
            name = code.text(_CUSTOM_CODE)
            raise ProgramError(
                f"uses the custom operator '{name:.80}', which is not run; convert it with "
                f"built-in operators only"
            )
    n_inputs = graph.vector(_INPUTS)[1]
    if n_inputs != 1:
        raise ProgramError(f"takes {n_inputs} tensors, but must take one: (1, n_samples)")
    if not graph.vector(_OUTPUTS)[1]:
        raise ProgramError("has no output")


def _graph(model: "_Table") -> "_Table":
    graphs = model.tables(_SUBGRAPHS)
    if not graphs:
        raise ProgramError("holds no network")
    return graphs[0]


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            yield content
    except (OSError, ValueError) as error:  # ValueError: it is empty
        raise ProgramError(f"cannot be read ({error})") from None


@contextmanager
def _damage() -> Iterator[None]:
    try:
        yield
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ProgramError(f"is damaged ({error})") from None


class _Table:
    """One table of a FlatBuffer at the byte `at`; a missing field is 0 or empty."""

    def __init__(self, content: Content, at: int) -> None:
        if not 0 <= at <= len(content) - 4:
            raise IndexError(f"offset {at}")
        self._content, self._at = content, at
        self._fields = at - self._unpack("<i", at)
        self._size = self._unpack("<H", self._fields)

    @classmethod
    def root(cls, content: Content) -> "_Table":
        """The table of the whole file."""
        return cls(content, struct.unpack_from("<I", content, 0)[0])

    def int8(self, field: int) -> int:
        """A field of type int8."""
        at = self._field(field)
        return self._unpack("<b", at) if at else 0

    def int32(self, field: int) -> int:
        """A field of type int32."""
        at = self._field(field)
        return self._unpack("<i", at) if at else 0

    def vector(self, field: int) -> tuple[int, int]:
        """Where the entries of a vector begin, and their number."""
        at = self._field(field)
        if not at:
            return 0, 0
        at += self._unpack("<I", at)
        n_entries = self._unpack("<I", at)
        if n_entries > MAX_ENTRIES:
            raise IndexError(f"a vector of {n_entries}")
        return at + 4, n_entries

    def text(self, field: int) -> str:
        """A field of type string."""
        at, size = self.vector(field)
        return bytes(self._content[at : at + size]).decode("utf-8")

    def int32s(self, field: int) -> tuple[int, ...]:
        """A vector of int32."""
        at, n_entries = self.vector(field)
        return struct.unpack_from(f"<{n_entries}i", self._content, at)

    def tables(self, field: int) -> list["_Table"]:
        """A vector of tables."""
        at, n_entries = self.vector(field)
        places = range(at, at + 4 * n_entries, 4)
        return [_Table(self._content, place + self._unpack("<I", place)) for place in places]

    def _field(self, field: int) -> int:
        place = 4 + 2 * field
        offset = self._unpack("<H", self._fields + place) if place < self._size else 0
        return self._at + offset if offset else 0

    def _unpack(self, kind: str, at: int) -> int:
        if at < 0:
            raise IndexError(f"offset {at}")
        return int(struct.unpack_from(kind, self._content, at)[0])
