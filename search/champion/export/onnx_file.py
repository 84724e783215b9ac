"""A bundle as one ONNX file, from waveform to probabilities, and how it is run.

`chorale export --onnx` writes such a file; `OnnxGraph` runs it.

Source: the format is that of https://onnx.ai; onnxruntime runs it.
"""

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from chorale.cluster.versions import install_extra
from chorale.datasets.atomic import atomic
from chorale.datasets.errors import UserError
from chorale.search.bundle.predictor import Predictor
from chorale.search.champion.export.whole_network import Whole

OPSET = 18
INPUT, OUTPUTS = "waveform", ("proba", "each")
EXAMPLE_S = 7.3
"""The graph is traced with noise of so many seconds; it takes any length."""


def whole_of(predictor: Predictor) -> Whole:
    """A loaded bundle as one network.

    Raises:
        UserError: a part of it has no twin in tensors.
    """
    parts = predictor.parts
    return Whole(predictor.bundle.manifest, parts.networks, parts.configs, parts.model).eval()


def export_onnx(whole: Whole, path: Path) -> None:
    """Writes the graph.

    Raises:
        UserError: the packages for it are missing, or a layer cannot be exported.
    """
    try:
        import onnx  # noqa: F401 - the exporter needs it
    except ImportError as error:
        raise _missing(error) from None
    rng = np.random.default_rng(0)
    n_samples = round(EXAMPLE_S * whole.sample_rate)
    example = torch.from_numpy(0.1 * rng.standard_normal(n_samples).astype(np.float32))
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            warnings.catch_warnings(),
            _quiet("torch.onnx"),
            torch.no_grad(),
            atomic(path) as temporary,
        ):
            warnings.simplefilter("ignore")  # of the tracer, that sizes become constants
            torch.onnx.export(
                whole,
                (example,),
                str(temporary),
                input_names=[INPUT],
                output_names=list(OUTPUTS),
                dynamic_axes={INPUT: {0: "n_samples"}},
                opset_version=OPSET,
                dynamo=False,  # its tracer follows sizes that depend on the input
            )
    except torch.onnx.errors.OnnxExporterError as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"this bundle cannot be exported to ONNX ({first:.200}); chorale predict uses it as "
            f"it is"
        ) from error


@dataclass(frozen=True)
class OnnxGraph:
    """A graph, ready to run on one thread."""

    session: Any

    @classmethod
    def open(cls, path: Path) -> "OnnxGraph":
        """Loads the graph at `path`.

        Raises:
            UserError: onnxruntime is missing, or cannot read the file.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise _missing(error) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise UserError(
                f"onnxruntime {onnxruntime.__version__} cannot run '{path}' ({error}); export the "
                f"bundle again"
            ) from error
        return cls(session)

    def run(self, waveform: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(n_samples,) -> probabilities (n_classes,) and (n_spaces, n_members, n_classes)."""
        proba, each = self.session.run(list(OUTPUTS), {INPUT: waveform})
        return np.asarray(proba), np.asarray(each)


def _missing(error: ImportError) -> UserError:
    return UserError(
        f"ONNX needs a package that is not installed ({error}); type: {install_extra('onnx')}"
    )


class _quiet:  # noqa: N801 - used as a function
    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def __enter__(self) -> None:
        self._level = self._logger.level
        self._logger.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        self._logger.setLevel(self._level)
