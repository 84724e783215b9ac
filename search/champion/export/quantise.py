"""Makes a graph's dense layers 8 bits a weight; what hears stays as it is.

`chorale export --int8` calls it. The products that stand for Fourier transforms and filters are
left alone: rounded to 8 bits, they hear nothing but noise.

Source: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", arXiv:1712.05877; as onnxruntime does it, activations by their
range in each run.
"""

import logging
import tempfile
from pathlib import Path

from chorale.cluster.versions import install_extra
from chorale.datasets.atomic import atomic
from chorale.datasets.errors import UserError

EARS = "ears."
"""How the names of what hears begin (see `search.champion.export.whole_network.Whole`)."""


def quantise(source: Path, to: Path) -> None:
    """Writes the graph at `source` with small weights; `source` stays.

    Raises:
        UserError: the packages for it are missing.
    """
    try:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError as error:
        raise UserError(
            f"ONNX needs a package that is not installed ({error}); type: {install_extra('onnx')}"
        ) from None
    graph = onnx.load(str(source)).graph
    hears = [n.name for n in graph.node if any(one.startswith(EARS) for one in n.input)]
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it recommends a step that the exporter has done
    try:
        with tempfile.TemporaryDirectory() as folder, atomic(to) as temporary:
            made = Path(folder) / "small.onnx"
            quantize_dynamic(
                str(source),
                str(made),
                weight_type=QuantType.QInt8,
                per_channel=True,
                op_types_to_quantize=["MatMul", "Gemm"],
                nodes_to_exclude=hears,
            )
            temporary.write_bytes(made.read_bytes())
    finally:
        root.setLevel(level)
