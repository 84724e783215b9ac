"""ONNX variants of the chosen student, in float32 and int8: predictions, latency and size.

The graphs predict from the waveforms, so features are included. The int8 out-of-fold predictions
come from a graph of each fold's student, for the tracks that it was not trained on.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from chorale.datasets import audio
from chorale.lightning_models.training import speed
from chorale.search.bundle.bundle import Bundle
from chorale.search.bundle.predictor import Predictor
from chorale.search.bundle.single_network import (
    Calibration,
    SingleNetwork,
    write_single_network_bundle,
)
from chorale.search.champion.compress.variants import Variant
from chorale.search.champion.export.onnx_file import OnnxGraph, end_to_end_network, export_onnx
from chorale.search.champion.export.quantise import quantise
from chorale.search.data.prepare import PreparedData
from chorale.search.statistics.arrays import Floats, Proba
from chorale.search.training import latency


@dataclass(frozen=True)
class StudentCheckpoints:
    """Checkpoint folders of each fold's student and of the final one."""

    of_fold: Sequence[Path]
    final: Path


def graph_variants(
    networks: StudentCheckpoints,
    prepared: PreparedData,
    calibration: Calibration,
    torch_test: Proba,
    *,
    to: tuple[Path, Path],
    on_progress: Callable[[str], None],
) -> list[Variant]:
    """Writes both graphs, and predicts the recordings with them.

    Args:
        networks: the chosen student's.
        prepared: the tracks, with their files.
        calibration: its temperature becomes part of the graphs.
        torch_test: PyTorch's predictions for the test tracks, (n_test, n_classes), at that
            temperature.
        to: files of the float32 graph and the int8 graph.
        on_progress: gets a line after each step.

    Raises:
        UserError: the packages are missing, or a part of the student cannot be exported.
        AudioError: a recording can no longer be read.
    """
    split = prepared.split
    _export(networks.final, calibration, *to)
    graphs = [OnnxGraph.open(path) for path in to]
    rate = graph_sample_rate(networks.final, calibration)
    test = _predict(graphs, split.test_ids, prepared, rate)
    on_progress(f"{len(split.test_ids)} locked test recordings predicted by the graphs")
    int8_out_of_fold = np.zeros((len(split.development_ids), len(prepared.class_names)))
    at = {track: i for i, track in enumerate(split.development_ids)}
    with tempfile.TemporaryDirectory() as scratch:
        for fold, weights in enumerate(networks.of_fold):
            files = (Path(scratch) / f"{fold}.onnx", Path(scratch) / f"{fold}-int8.onnx")
            _export(weights, calibration, *files)
            ids = split.valid_ids(fold)
            [proba] = _predict([OnnxGraph.open(files[1])], ids, prepared, rate)
            int8_out_of_fold[[at[track] for track in ids]] = proba
            on_progress(
                f"fold {fold + 1} of {len(networks.of_fold)}: {len(ids)} recordings predicted"
            )
    max_error = float(np.abs(test[0] - torch_test).max())
    exact = speed.fastest_precision("cpu") == torch.float32
    precision = "" if exact else ", which computes in bfloat16 here"
    wave = latency.make_clip(rate)
    times = [
        latency.measure_latency(
            lambda graph=graph: graph.run(wave),  # type: ignore[misc]
            latency.N_REPORTED_ROUNDS,
        )
        for graph in graphs
    ]
    sizes = [path.stat().st_size / 1e6 for path in to]
    note = f"{to[0].name}; equals PyTorch within {max_error:.0e}{precision}"
    return [
        Variant("ONNX", None, test[0], times[0], sizes[0], note, thresholds=calibration.thresholds),
        Variant("ONNX int8", int8_out_of_fold, test[1], times[1], sizes[1], to[1].name),
    ]


def graph_sample_rate(weights: Path, calibration: Calibration) -> int:
    """The sample rate in Hz that a network's graph expects."""
    with tempfile.TemporaryDirectory() as scratch:
        bundle = write_single_network_bundle(
            Path(scratch) / "bundle", SingleNetwork("student", weights, calibration)
        )
        return latency.predictor_sample_rate(Predictor(bundle))


def _export(weights: Path, calibration: Calibration, to: Path, small: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        write_single_network_bundle(
            Path(scratch) / "bundle", SingleNetwork("student", weights, calibration)
        )
        export_onnx(end_to_end_network(Predictor(Bundle.open(Path(scratch) / "bundle"))), to)
    quantise(to, small)


def _predict(
    graphs: Sequence[OnnxGraph], ids: Sequence[str], prepared: PreparedData, rate: int
) -> list[Floats]:
    """Each graph's predictions for some tracks: (n, n_classes), in the order of `ids`."""
    found: list[list[np.ndarray]] = [[] for _ in graphs]
    for path in prepared.tracks["path"].iloc[prepared.rows(ids)]:
        wave, own_rate = audio.load_audio(path)
        if own_rate != rate:
            wave = audio.resample(wave, own_rate, rate)
        for graph, probas in zip(graphs, found, strict=True):
            probas.append(graph.run(wave)[0])
    return [np.asarray(probas, np.float64) for probas in found]
