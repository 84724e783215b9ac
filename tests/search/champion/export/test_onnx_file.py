"""An exported graph says what PyTorch says, from the waveform on, or it is refused, with why."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chorale.datasets import plugins
from chorale.datasets.errors import UserError
from chorale.lightning_models import architectures
from chorale.lightning_models.training import speed
from chorale.search.bundle.bundle import Bundle
from chorale.search.bundle.predictor import Predictor
from chorale.search.champion.export.feature_networks import CANNOT, HEARING
from chorale.search.combining.base import Model

pytest.importorskip("onnx", reason="onnx is not installed (pip install '.[onnx]')")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install '.[onnx]')")

from chorale.search.champion.export.onnx_file import OnnxGraph, export_onnx, whole_of
from chorale.search.champion.export.quantise import quantise

RATE = 8_000
LENGTHS_S = (0.05, 0.9, 2.03, 5.5, 13.0)
"""Shorter than a window, a bit shorter, and of several windows up to more than are judged."""

TOLERANCE = 1e-4


def eaten(name: str) -> tuple[str, ...]:
    return tuple(plugins.load(architectures, name, kind="architecture").FEATURES)


def pairs() -> list[Any]:
    """Every architecture on the features that it likes best; on the others on demand."""
    found = []
    for name in plugins.names(architectures):
        fitting = [one for one in eaten(name) if one in HEARING]
        found += [pytest.param(name, one) for one in fitting[:1]]
        found += [pytest.param(name, one, marks=pytest.mark.heavy) for one in fitting[1:]]
    return found


@pytest.fixture(autouse=True)
def _float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a processor has bf16, PyTorch uses it, and says something else than any float32."""
    monkeypatch.setattr(speed, "precision", lambda kind: torch.float32)


def clip(seconds: float, seed: int = 0) -> np.ndarray:
    """Tones that glide, in noise."""
    rng = np.random.default_rng(seed)
    n = round(seconds * RATE)
    phase = np.cumsum(rng.uniform(0.05, 1.5, -(-n // 400)).repeat(400)[:n])
    return (0.2 * np.sin(phase) + 0.02 * rng.standard_normal(n)).astype(np.float32)


def furthest(bundle: Path, folder: Path) -> float:
    """How far the graph is off, at most, over all lengths."""
    predictor = Predictor(Bundle.open(bundle))
    export_onnx(whole_of(predictor), folder / "whole.onnx")
    graph = OnnxGraph.open(folder / "whole.onnx")
    off = 0.0
    for seconds in LENGTHS_S:
        expected = predictor.of_waveform(clip(seconds), RATE)
        proba, each = graph.run(clip(seconds))
        assert each.sum(axis=-1) == pytest.approx(1, abs=1e-4)
        off = max(off, float(np.abs(proba - expected.proba).max()))
    return off


@pytest.mark.parametrize(("name", "features"), pairs())
def test_the_graph_says_what_pytorch_says(
    name: str, features: str, make_bundle: Any, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path / "b", [(name, features, {}, {})])
    assert furthest(bundle, tmp_path) < TOLERANCE


def test_what_differs_between_trainings_is_in_the_graph(make_bundle: Any, tmp_path: Path) -> None:
    """Centred crops, few windows, several members on several features, a temperature."""
    members = [
        ("cnn", "mel", {"pooling": "flatten"}, {"center": True, "n_windows": 3}),
        ("cnn", "mfcc", {}, {"crop_s": 0.5}),
        ("recurrent", "mel", {}, {"crop_s": 2.0}),
    ]
    model = Model(np.array([0.5, 0.2, 0.3]))
    bundle = make_bundle(
        tmp_path / "b", members, n_spaces=2, kind="weighted_vote", model=model, temperature=0.7
    )
    assert furthest(bundle, tmp_path) < TOLERANCE


def test_every_bin_of_a_spectrum_is_in_the_graph(make_bundle: Any, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b", [("cnn", "stft", {}, {})])
    assert furthest(bundle, tmp_path) < TOLERANCE


def test_a_stacked_ensemble_is_in_the_graph(make_bundle: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {"slopes": rng.normal(0.5, 0.3, (2, 3)), "intercepts": rng.normal(0, 0.3, 3)}
    members: list[Any] = [("cnn", "mel", {}, {}), ("cnn", "mfcc", {}, {})]
    model = Model(np.array([0.5, 0.5]), arrays)
    bundle = make_bundle(tmp_path / "b", members, kind="stacking", model=model)
    assert furthest(bundle, tmp_path) < TOLERANCE


@pytest.mark.parametrize(
    ("name", "features"),
    [
        ("mlp", "stats57"),
        ("mlp", "stats518"),
        ("encoder_probe", "encoder"),
        ("image_cnn", "spectrogram_image"),
    ],
)
def test_features_without_a_graph_are_refused_with_the_reason(
    name: str, features: str, make_bundle: Any, tmp_path: Path
) -> None:
    predictor = Predictor(Bundle.open(make_bundle(tmp_path / "b", [(name, features, {}, {})])))
    with pytest.raises(UserError) as caught:
        whole_of(predictor)
    assert CANNOT[features] in str(caught.value)
    assert "chorale predict uses it as it is" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no graph")
    with pytest.raises(UserError, match="export the bundle again"):
        OnnxGraph.open(tmp_path / "x.onnx")


def test_eight_bits_say_nearly_the_same_and_hear_as_before(
    make_bundle: Any, tmp_path: Path
) -> None:
    import onnx

    bundle = make_bundle(tmp_path / "b", [("cnn", "mel", {"dense": 256}, {})])
    whole, small = tmp_path / "whole.onnx", tmp_path / "small.onnx"
    export_onnx(whole_of(Predictor(Bundle.open(bundle))), whole)
    quantise(whole, small)
    assert small.stat().st_size < whole.stat().st_size
    kinds = {one.name: one.data_type for one in onnx.load(str(small)).graph.initializer}
    assert kinds["ears.mel.power.second"] == onnx.TensorProto.FLOAT
    assert onnx.TensorProto.INT8 in kinds.values()
    waves = [clip(3.0, seed) for seed in range(5)]
    expected = [OnnxGraph.open(whole).run(wave)[0] for wave in waves]
    found = [OnnxGraph.open(small).run(wave)[0] for wave in waves]
    assert np.abs(np.array(found) - np.array(expected)).max() < 0.05
