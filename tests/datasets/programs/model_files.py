"""Small tflite and ONNX files for tests: written by hand, or by the packages that define them."""

from pathlib import Path
from typing import Any

import pytest

N_SAMPLES = 8


def tflite(path: Path, *, custom: str = "", n_samples: int = N_SAMPLES, dtype: int = 0) -> Path:
    """Doubles a window (1, n_samples), then squares that: tensors x, doubled, squared."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    flatbuffers = pytest.importorskip("flatbuffers")
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.operatorCodes, graph.operators, graph.tensors = [], [], []
    for at, (name, options) in enumerate([("ADD", "AddOptions"), ("MUL", "MulOptions")]):
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        number = getattr(schema.BuiltinOperator, "CUSTOM" if custom else name)
        code.builtinCode = code.deprecatedBuiltinCode = number
        code.customCode = custom or None
        operator.opcodeIndex = at
        operator.inputs, operator.outputs = [at, at], [at + 1]
        if not custom:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(schema, options + "T")()
        model.operatorCodes.append(code)
        graph.operators.append(operator)
    for name in ("x", "doubled", "squared"):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, [1, n_samples], dtype
        graph.tensors.append(tensor)
    graph.inputs, graph.outputs = [0], [2]
    model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT()]
    builder = flatbuffers.Builder(512)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def onnx_graph(nodes: list[Any], outputs: list[str], **options: Any) -> Any:
    """A model of the input x, float32 (1, n_samples)."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    graph = helper.make_graph(
        nodes,
        "test",
        [
            helper.make_tensor_value_info(
                "x", onnx.TensorProto.FLOAT, options.pop("shape", [1, None])
            )
        ],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs],
        options.pop("weights", []),
    )
    opsets = [helper.make_opsetid("", 18), *options.pop("opsets", [])]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9, **options)


def onnx(path: Path) -> Path:
    """Doubles a window (1, n_samples), and squares that: outputs doubled, squared."""
    helper = pytest.importorskip("onnx").helper
    nodes = [
        helper.make_node("Add", ["x", "x"], ["doubled"]),
        helper.make_node("Mul", ["doubled", "doubled"], ["squared"]),
    ]
    path.write_bytes(onnx_graph(nodes, ["doubled", "squared"]).SerializeToString())
    return path


def endless_onnx(path: Path) -> Path:
    """Adds 1 for ever."""
    package = pytest.importorskip("onnx")
    helper, kinds = package.helper, package.TensorProto
    scalar = [
        helper.make_tensor_value_info(name, kind, shape)
        for name, kind, shape in [
            ("i", kinds.INT64, []),
            ("go", kinds.BOOL, []),
            ("sum", kinds.FLOAT, [1]),
            ("more", kinds.BOOL, []),
            ("next", kinds.FLOAT, [1]),
        ]
    ]
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["more"]),
            helper.make_node("Add", ["sum", "one"], ["next"]),
        ],
        "body",
        scalar[:3],
        scalar[3:],
    )
    nodes = [
        helper.make_node("Loop", ["", "yes", "one"], ["end"], body=body),
        helper.make_node("Add", ["x", "end"], ["y"]),
    ]
    weights = [
        helper.make_tensor("one", kinds.FLOAT, [1], [1.0]),
        helper.make_tensor("yes", kinds.BOOL, [], [True]),
    ]
    path.write_bytes(onnx_graph(nodes, ["y"], weights=weights).SerializeToString())
    return path


def hungry_onnx(path: Path, n_values: int) -> Path:
    """Adds a window to `n_values` zeros."""
    package = pytest.importorskip("onnx")
    helper, kinds = package.helper, package.TensorProto
    nodes = [
        helper.make_node("ConstantOfShape", ["size"], ["zeros"]),
        helper.make_node("Expand", ["x", "size"], ["wide"]),
        helper.make_node("Add", ["zeros", "wide"], ["y"]),
    ]
    weights = [helper.make_tensor("size", kinds.INT64, [2], [1, n_values])]
    path.write_bytes(onnx_graph(nodes, ["y"], weights=weights, shape=[1, 1]).SerializeToString())
    return path
