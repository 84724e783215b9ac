"""ONNX export of a bundle as one file, from waveform to probabilities, and its execution.

`chorale export --onnx` writes such a file; `OnnxGraph` runs it with onnxruntime.

Source: the format is that of https://onnx.ai.
"""

import logging
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from chorale.cluster.versions import install_extra_command
from chorale.datasets.atomic import atomic_write
from chorale.datasets.errors import UserError
from chorale.search.bundle.predictor import Predictor
from chorale.search.champion.export.end_to_end import EndToEndNetwork

OPSET = 18
INPUT_NAME, OUTPUT_NAMES = "waveform", ("proba", "each")
EXAMPLE_S = 7.3
"""Length in seconds of the noise that the graph is traced with; it takes any length."""


def end_to_end_network(predictor: Predictor) -> EndToEndNetwork:
    """A loaded bundle as one end-to-end network.

    Raises:
        UserError: a part of it cannot be exported.
    """
    parts = predictor.parts
    return EndToEndNetwork(
        predictor.bundle.manifest, parts.networks, parts.configs, parts.model
    ).eval()


def export_onnx(network: EndToEndNetwork, path: Path) -> None:
    """Writes the network as an ONNX graph.

    Raises:
        UserError: the onnx package is missing, or a layer cannot be exported.
    """
    try:
        import onnx  # noqa: F401 - the exporter needs it
    except ImportError as error:
        raise _missing(error) from None
    rng = np.random.default_rng(0)
    n_samples = round(EXAMPLE_S * network.sample_rate)
    example = torch.from_numpy(0.1 * rng.standard_normal(n_samples).astype(np.float32))
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            warnings.catch_warnings(),
            _quiet("torch.onnx"),
            torch.no_grad(),
            atomic_write(path) as temporary,
        ):
            warnings.simplefilter("ignore")  # the tracer's warnings that sizes become constants
            torch.onnx.export(
                network,
                (example,),
                str(temporary),
                input_names=[INPUT_NAME],
                output_names=list(OUTPUT_NAMES),
                dynamic_axes={INPUT_NAME: {0: "n_samples"}},
                opset_version=OPSET,
                dynamo=False,  # the TorchScript exporter supports sizes that depend on the input
            )
    except torch.onnx.errors.OnnxExporterError as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"this bundle cannot be exported to ONNX ({first:.200}); chorale predict uses it as "
            f"it is"
        ) from error


@dataclass(frozen=True)
class OnnxGraph:
    """An ONNX graph, loaded into onnxruntime with one thread."""

    session: Any

    @classmethod
    def open(cls, path: Path) -> "OnnxGraph":
        """Loads the graph at `path`.

        Raises:
            UserError: onnxruntime is missing, or cannot read the file.
        """
        # without this, the import opens a database of usage records in the home folder (1.32)
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
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
        """(n_samples,) -> probabilities (n_classes,) and (n_spaces, n_members, n_classes).

        They sum to 1, except where a recording has several labels.
        """
        proba, each = self.session.run(list(OUTPUT_NAMES), {INPUT_NAME: waveform})
        return np.asarray(proba), np.asarray(each)


def _missing(error: ImportError) -> UserError:
    return UserError(
        f"ONNX needs a package that is not installed ({error}); type: "
        f"{install_extra_command('onnx')}"
    )


class _quiet:  # noqa: N801 - used as a function
    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def __enter__(self) -> None:
        self._level = self._logger.level
        self._logger.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        self._logger.setLevel(self._level)
