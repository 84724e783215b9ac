"""ONNX export of a bundle whose recordings have several labels, with every exportable ensemble."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chorale.datasets import plugins
from chorale.lightning_models.training import speed
from chorale.search import ensembles
from chorale.search.bundle.bundle import Bundle
from chorale.search.bundle.predictor import Predictor
from chorale.search.combining.base import EnsembleModel

pytest.importorskip("onnx", reason="onnx is not installed (pip install '.[onnx]')")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install '.[onnx]')")

from chorale.search.champion.export.onnx_file import OnnxGraph, end_to_end_network, export_onnx

RATE = 8_000
TOLERANCE = 1e-4
"""As of one class a recording."""

KINDS = [
    name
    for name in plugins.plugin_names(ensembles)
    if hasattr(plugins.load_plugin(ensembles, name, kind="ensemble"), "network")
]
MODELS = {
    "stacking": EnsembleModel(
        np.array([0.5, 0.5]),
        {"slopes": np.array([[0.7, 0.2], [0.4, 1.1]]), "intercepts": np.array([0.3, -0.2])},
    ),
    "best_single": EnsembleModel(np.array([0.0, 1.0])),
}
WEIGHTED = EnsembleModel(np.array([0.7, 0.3]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_predicts_each_label_as_the_bundle_does(
    kind: str, make_bundle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "fastest_precision", lambda device: torch.float32)
    small = {"n_layers": 2, "width": 16}
    members = [("cnn", "mel", small, {"crop_s": 0.5}), ("mlp", "mfcc_statistics", {}, {})]
    folder = make_bundle(
        tmp_path / "b", members, n_spaces=2, kind=kind, model=MODELS.get(kind, WEIGHTED),
        temperature=0.6, thresholds={"blues": 0.5, "jazz": 0.5, "metal": 0.5},
    )  # fmt: skip
    predictor = Predictor(Bundle.open(folder))
    for _, network in predictor.parts.networks:  # as of trained ones: some labels nearly certain
        with torch.no_grad():
            network.network.head.get_parameter("weight").mul_(8)
    export_onnx(end_to_end_network(predictor), tmp_path / "bundle.onnx")
    graph = OnnxGraph.open(tmp_path / "bundle.onnx")
    for seconds in (0.3, 2.75):
        wave = 0.1 * np.random.default_rng(1).standard_normal(round(seconds * RATE))
        proba, each = graph.run(wave.astype(np.float32))
        expected = predictor.predict_waveform(wave.astype(np.float32), RATE)
        assert (proba.shape, each.shape) == ((3,), (2, 2, 3))
        assert np.abs(proba - expected.proba).max() < TOLERANCE
        assert abs(proba.sum() - 1) > 0.01, "they are no distribution over the labels"
