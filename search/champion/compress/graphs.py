"""The chosen student as ONNX graphs, whole and with 8 bits a weight: what they say, measured.

They hear the recordings themselves, so features are included. What the folds' students say with 8
bits is asked of graphs of their own, each about the tracks that it had not heard.
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
from chorale.search.bundle.single_network import One, Sureness, write_one
from chorale.search.champion.compress.variants import Variant
from chorale.search.champion.export.onnx_file import OnnxGraph, export_onnx, whole_of
from chorale.search.champion.export.quantise import quantise
from chorale.search.data.prepare import Prepared
from chorale.search.statistics.arrays import Floats, Proba
from chorale.search.training import latency


@dataclass(frozen=True)
class Networks:
    """Checkpoints' folders: of each fold's student, and of the whole one."""

    of_fold: Sequence[Path]
    whole: Path


def graph_variants(
    networks: Networks,
    prepared: Prepared,
    sure: Sureness,
    torch_test: Proba,
    *,
    to: tuple[Path, Path],
    tell: Callable[[str], None],
) -> list[Variant]:
    """Writes both graphs and asks them about the recordings.

    Args:
        networks: the chosen student's.
        prepared: the tracks, with their files.
        sure: the temperature is in the graphs.
        torch_test: what PyTorch says of the test tracks, (n_test, n_classes), at that temperature.
        to: where the float graph and the one with 8 bits are put.
        tell: is told how far it is.

    Raises:
        UserError: the packages are missing, or something in it has no twin in tensors.
        AudioError: a recording cannot be read any more.
    """
    split = prepared.split
    _export(networks.whole, sure, *to)
    graphs = [OnnxGraph.open(path) for path in to]
    rate = rate_of_graph(networks.whole, sure)
    said = _ask(graphs, split.test_ids, prepared, rate)
    tell(f"{len(split.test_ids)} locked-away recordings heard as graphs")
    eight = np.zeros((len(split.development_ids), len(prepared.class_names)))
    at = {track: i for i, track in enumerate(split.development_ids)}
    with tempfile.TemporaryDirectory() as scratch:
        for fold, weights in enumerate(networks.of_fold):
            files = (Path(scratch) / f"{fold}.onnx", Path(scratch) / f"{fold}-int8.onnx")
            _export(weights, sure, *files)
            ids = split.valid_ids(fold)
            [found] = _ask([OnnxGraph.open(files[1])], ids, prepared, rate)
            eight[[at[track] for track in ids]] = found
            tell(f"fold {fold + 1} of {len(networks.of_fold)}: {len(ids)} recordings heard")
    off = float(np.abs(said[0] - torch_test).max())
    exact = speed.precision("cpu") == torch.float32
    how = "" if exact else ", which computes in bfloat16 here"
    wave = latency.clip(rate)
    times = [
        latency.measure(lambda graph=graph: graph.run(wave), latency.N_ROUNDS)  # type: ignore[misc]
        for graph in graphs
    ]
    sizes = [path.stat().st_size / 1e6 for path in to]
    note = f"{to[0].name}; says what PyTorch says within {off:.0e}{how}"
    return [
        Variant("ONNX", None, said[0], times[0], sizes[0], note),
        Variant("ONNX int8", eight, said[1], times[1], sizes[1], to[1].name),
    ]


def rate_of_graph(weights: Path, sure: Sureness) -> int:
    """The rate in Hz that a network's graph hears at."""
    with tempfile.TemporaryDirectory() as scratch:
        bundle = write_one(Path(scratch) / "bundle", One("student", weights, sure))
        return latency.rate_of(Predictor(bundle))


def _export(weights: Path, sure: Sureness, to: Path, small: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        write_one(Path(scratch) / "bundle", One("student", weights, sure))
        export_onnx(whole_of(Predictor(Bundle.open(Path(scratch) / "bundle"))), to)
    quantise(to, small)


def _ask(
    graphs: Sequence[OnnxGraph], ids: Sequence[str], prepared: Prepared, rate: int
) -> list[Floats]:
    """What each graph says of some tracks: (n, n_classes), in the order of `ids`."""
    found: list[list[np.ndarray]] = [[] for _ in graphs]
    for path in prepared.tracks["path"].iloc[prepared.rows(ids)]:
        wave, own_rate = audio.load(path)
        if own_rate != rate:
            wave = audio.resample(wave, own_rate, rate)
        for graph, said in zip(graphs, found, strict=True):
            said.append(graph.run(wave)[0])
    return [np.asarray(said, np.float64) for said in found]
