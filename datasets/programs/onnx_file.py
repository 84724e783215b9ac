"""What an ONNX file holds, read without its runtime: whether it can be run.

The format is a protocol buffer: numbered fields, of which only those of names are read, so that a
file of any size takes a moment.

Source: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, and the encoding,
https://protobuf.dev/programming-guides/encoding.
"""

import mmap
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from chorale.datasets.programs.exported_program import ProgramError

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Of the operators that onnxruntime has."""

_IR_VERSION, _GRAPH, _OPERATOR_SETS, _FUNCTIONS = 1, 7, 8, 25  # fields of ModelProto
_NODES, _WEIGHTS, _INPUTS, _OUTPUTS, _SPARSE_WEIGHTS = 1, 5, 11, 12, 15  # of GraphProto
_OPERATOR, _ATTRIBUTES, _DOMAIN = 4, 5, 7  # of NodeProto
_TENSORS, _GRAPHS, _SPARSE = (5, 10), (6, 11), (22, 23)  # of AttributeProto
_TENSOR_NAME, _EXTERNAL, _LOCATION = 8, 13, 14  # of TensorProto
_FUNCTION_NODES, _FUNCTION_DOMAIN = 7, 10  # of FunctionProto
_VALUE_NAME = 1  # of ValueInfoProto

_MAX_DEPTH = 32
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5


class _DamageError(Exception):
    """The bytes are no protocol buffer."""


@dataclass
class _Seen:
    domains: set[str] = field(default_factory=set)
    operators: list[tuple[str, str]] = field(default_factory=list)
    external: str | None = None


def check_onnx(path: Path) -> None:
    """Checks that a file is an ONNX model with its weights, built-in operators and one input.

    Raises:
        ProgramError: it is not.
    """
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # ValueError: it is empty
        raise ProgramError(f"cannot be read ({error})") from None
    _check(memoryview(mapped))  # which keeps it open until no part of it is used


def _check(content: memoryview) -> None:
    try:
        model = list(_fields(content))
        graphs = [value for number, value in model if number == _GRAPH]
        numbers = {number for number, _ in model}
        if not graphs or not {_IR_VERSION, _OPERATOR_SETS} <= numbers:
            raise _DamageError("it has no graph or no version")
        seen = _Seen(set(DOMAINS))
        for number, value in model:
            if number == _FUNCTIONS:
                seen.domains |= set(_texts(value, _FUNCTION_DOMAIN))
                _see_nodes(value, _FUNCTION_NODES, seen, depth=0)
        for graph in graphs:
            _see_graph(graph, seen, depth=0)
        weights = {
            name
            for graph in graphs
            for w in _parts(graph, _WEIGHTS)
            for name in _texts(w, _TENSOR_NAME)
        }
        inputs = {
            name
            for graph in graphs
            for i in _parts(graph, _INPUTS)
            for name in _texts(i, _VALUE_NAME)
        }
        n_outputs = sum(1 for graph in graphs for _ in _parts(graph, _OUTPUTS))
    except (_DamageError, UnicodeDecodeError) as error:
        raise ProgramError(f"is no ONNX file, or damaged ({error})") from None
    if seen.external is not None:
        raise ProgramError(
            f"keeps the weights '{seen.external:.80}' in another file; save it as one file "
            f"(onnx.save with save_as_external_data=False)"
        )
    for domain, operator in seen.operators:
        if domain not in seen.domains:
            raise ProgramError(
                f"uses the custom operator '{domain:.80}.{operator:.80}', which is not run; "
                f"export it with operators of ONNX only"
            )
    if len(inputs - weights) != 1 or not n_outputs:
        raise ProgramError(
            f"takes {len(inputs - weights)} tensors and returns {n_outputs}, but must take one, "
            f"(1, n_samples), and return at least one"
        )


def _see_graph(graph: memoryview, seen: _Seen, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise _DamageError("its graphs are nested too deep")
    _see_nodes(graph, _NODES, seen, depth)
    for number, value in _fields(graph):
        if number == _WEIGHTS:
            _see_tensor(value, seen)
        elif number == _SPARSE_WEIGHTS:
            _see_sparse(value, seen)


def _see_nodes(owner: memoryview, number: int, seen: _Seen, depth: int) -> None:
    for node in _parts(owner, number):
        domain = "".join(_texts(node, _DOMAIN))
        seen.operators.append((domain, "".join(_texts(node, _OPERATOR))))
        for attribute in _parts(node, _ATTRIBUTES):
            for place, value in _fields(attribute):
                if place in _TENSORS:
                    _see_tensor(value, seen)
                elif place in _SPARSE:
                    _see_sparse(value, seen)
                elif place in _GRAPHS:
                    _see_graph(value, seen, depth + 1)


def _see_sparse(sparse: memoryview, seen: _Seen) -> None:
    for number, value in _fields(sparse):
        if number in (1, 2):  # values, indices
            _see_tensor(value, seen)


def _see_tensor(tensor: memoryview, seen: _Seen) -> None:
    for number, value in _fields(tensor):
        if number == _EXTERNAL or (number == _LOCATION and bytes(value) != b"\0"):
            seen.external = seen.external or "".join(_texts(tensor, _TENSOR_NAME)) or "?"


def _parts(message: memoryview, number: int) -> Iterator[memoryview]:
    return (value for found, value in _fields(message) if found == number)


def _texts(message: memoryview, number: int) -> Iterator[str]:
    return (bytes(value).decode("utf-8") for value in _parts(message, number))


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The number and the bytes of each field; those of a varint are its own."""
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            start = at
            _, at = _varint(message, at)
        elif kind == _BYTES:
            size, start = _varint(message, at)
            at = start + size
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            start = at
            at += 8 if kind == _EIGHT_BYTES else 4
        else:
            raise _DamageError(f"a field of type {kind}")
        if at > end or not number:
            raise _DamageError("a field beyond the end")
        yield number, message[start:at]


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    with suppress(IndexError):
        for shift in range(0, 70, 7):
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
    raise _DamageError("a number that does not end")
