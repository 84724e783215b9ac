"""The runtimes of tflite and ONNX files, as the process that runs them sees them.

Imported by `model_child` only: a runtime on a hostile file may crash or never return.
"""

from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt

from chorale.datasets.programs.tflite_file import with_output

Float32Array = npt.NDArray[np.float32]

TFLITE, ONNX = "tflite", "onnx"


class RefusedError(Exception):
    """A file or an input that is not run; its text is one line."""


class Model(ABC):
    """A loaded network; `shape` is that of its input, None for each free axis."""

    shape: tuple[int | None, ...]

    @abstractmethod
    def run(self, array: Float32Array) -> Float32Array:
        """The output for one input.

        Raises:
            RefusedError: it does not take such an input, or its output has no numbers.
        """

    def _check(self, array: Float32Array) -> None:
        fits = len(array.shape) == len(self.shape)
        if not fits or any(
            b not in (None, a) for a, b in zip(array.shape, self.shape, strict=True)
        ):
            free = ", ".join("n" if size is None else str(size) for size in self.shape)
            raise RefusedError(f"takes ({free}) values, but got {array.shape}")


def warm_up(kind: str) -> None:
    """Imports a runtime and runs a trivial network: later no file can be opened.

    Both runtimes read at their first network what the processor can do, and are slower without.

    Raises:
        ImportError: it is not installed.
    """
    if kind == TFLITE:
        TfliteModel(_trivial_tflite(), None).run(np.ones((1, 4), np.float32))
    else:
        OnnxModel(_trivial_onnx(), None).run(np.ones((1, 4), np.float32))


def load(kind: str, content: bytes, output: str | int | None) -> Model:
    """Loads a file that was checked.

    Args:
        kind: `TFLITE` or `ONNX`.
        content: of the file.
        output: the output that is returned, or for tflite any inner tensor; None: the first.

    Raises:
        RefusedError: the runtime does not load it.
        ProgramError: a tflite file has no such tensor.
    """
    return (TfliteModel if kind == TFLITE else OnnxModel)(content, output)


class TfliteModel(Model):
    """A tflite file in the LiteRT interpreter."""

    def __init__(self, content: bytes, output: str | int | None) -> None:
        from ai_edge_litert.interpreter import Interpreter

        if output is not None:
            content = with_output(content, output)
        try:
            self._interpreter = Interpreter(model_content=content, num_threads=1)
            self._input = self._interpreter.get_input_details()[0]
            self._output = self._interpreter.get_output_details()[0]
        except (RuntimeError, ValueError, IndexError) as error:
            raise RefusedError(f"is not loaded by LiteRT ({_first_line(error)})") from None
        for what, details in (("takes", self._input), ("returns", self._output)):
            if details["dtype"] != np.float32:
                raise RefusedError(
                    f"{what} {np.dtype(details['dtype'])}, but must take and return float32"
                )
        sizes = self._input["shape_signature"]
        self.shape = tuple(None if size < 0 else int(size) for size in sizes)
        self._allocated: tuple[int, ...] | None = None

    def run(self, array: Float32Array) -> Float32Array:
        self._check(array)
        try:
            if self._allocated != array.shape:
                self._interpreter.resize_tensor_input(self._input["index"], array.shape)
                self._interpreter.allocate_tensors()
                self._allocated = array.shape
            self._interpreter.set_tensor(self._input["index"], array)
            self._interpreter.invoke()
            return np.asarray(self._interpreter.get_tensor(self._output["index"]), np.float32)
        except (RuntimeError, ValueError) as error:
            self._allocated = None
            raise RefusedError(f"fails on {array.shape} ({_first_line(error)})") from None


class OnnxModel(Model):
    """An ONNX file in onnxruntime."""

    def __init__(self, content: bytes, output: str | int | None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False  # which keeps twice what is used
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own exceptions have no public base class
            raise RefusedError(f"is not loaded by onnxruntime ({_first_line(error)})") from None
        (self._input,) = self._session.get_inputs()
        outputs = {each.name: each for each in self._session.get_outputs()}
        if isinstance(output, int):
            output = list(outputs)[output] if 0 <= output < len(outputs) else str(output)
        self._output = next(iter(outputs)) if output is None else output
        if self._output not in outputs:
            raise RefusedError(f"has no output '{output!s:.80}', but: {', '.join(outputs):.400}")
        for what, each in (("takes", self._input), ("returns", outputs[self._output])):
            if each.type != "tensor(float)":
                raise RefusedError(f"{what} {each.type}, but must take and return float32")
        self.shape = tuple(
            size if isinstance(size, int) and size > 0 else None for size in self._input.shape
        )

    def run(self, array: Float32Array) -> Float32Array:
        self._check(array)
        try:
            (result,) = self._session.run([self._output], {self._input.name: array})
        except Exception as error:  # as above
            raise RefusedError(f"fails on {array.shape} ({_first_line(error)})") from None
        return np.asarray(result, np.float32)


def _first_line(error: Exception) -> str:
    """Of its text.

    Raises:
        MemoryError: it tells of one.
    """
    if "bad_alloc" in str(error) or "Failed to allocate" in str(error):
        raise MemoryError from None
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"{lines[0]:.300}"


def _trivial_tflite() -> bytes:
    """X + x for x (1, 4)."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model, code, graph = schema.ModelT(), schema.OperatorCodeT(), schema.SubGraphT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ADD
    add = schema.OperatorT()
    add.inputs, add.outputs = [0, 0], [1]
    add.builtinOptionsType = schema.BuiltinOptions.AddOptions
    add.builtinOptions = schema.AddOptionsT()
    for name in ("x", "y"):
        tensor = schema.TensorT()
        tensor.name, tensor.shape = name, [1, 4]
        graph.tensors = [*(graph.tensors or []), tensor]
    graph.inputs, graph.outputs, graph.operators = [0], [1], [add]
    model.version, model.operatorCodes = 3, [code]
    model.subgraphs, model.buffers = [graph], [schema.BufferT()]
    builder = flatbuffers.Builder(512)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _trivial_onnx() -> bytes:
    """X + x for x (1, 4), as bytes of a protocol buffer (see `onnx_file`)."""

    def part(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    sizes = part(1, b"\x08\x01") + part(1, b"\x08\x04")
    kind = part(2, part(1, b"\x08\x01" + part(2, sizes)))
    node = part(1, b"x") + part(1, b"x") + part(2, b"y") + part(4, b"Add")
    values = part(11, part(1, b"x") + kind) + part(12, part(1, b"y") + kind)
    graph = part(1, node) + part(2, b"g") + values
    return b"\x08\x08" + part(8, b"\x10\x12") + part(7, graph)
