"""Dynamic int8 quantisation of an exported graph's dense layers; features stay in float32.

`chorale export --int8` calls it. The matrix products of the Fourier transforms and filters are
excluded: with 8-bit weights their output is noise.

Source: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", arXiv:1712.05877; as implemented by onnxruntime, which scales
activations by their range in each run.
"""

import logging
import os
import tempfile
from pathlib import Path

from chorale.cluster.versions import install_extra_command
from chorale.datasets.atomic import atomic_write
from chorale.datasets.errors import UserError

FEATURE_PREFIX = "feature_networks."
"""Prefix of the feature extraction's tensors in a graph (see `end_to_end.EndToEndNetwork`)."""


def quantise(source: Path, to: Path) -> None:
    """Writes the graph at `source` with int8 weights to `to`.

    Raises:
        UserError: onnx or onnxruntime is missing.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # see `onnx_file.OnnxGraph.open`
    try:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError as error:
        raise UserError(
            f"ONNX needs a package that is not installed ({error}); type: "
            f"{install_extra_command('onnx')}"
        ) from None
    graph = onnx.load(str(source)).graph
    features = [
        node.name for node in graph.node if any(n.startswith(FEATURE_PREFIX) for n in node.input)
    ]
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it recommends a step that the exporter has already done
    try:
        with tempfile.TemporaryDirectory() as folder, atomic_write(to) as temporary:
            quantised = Path(folder) / "int8.onnx"
            quantize_dynamic(
                str(source),
                str(quantised),
                weight_type=QuantType.QInt8,
                per_channel=True,
                op_types_to_quantize=["MatMul", "Gemm"],
                nodes_to_exclude=features,
            )
            temporary.write_bytes(quantised.read_bytes())
    finally:
        root.setLevel(level)
