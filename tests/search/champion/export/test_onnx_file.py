"""ONNX export: the graph predicts what PyTorch does, or the export is refused with a reason."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from chorale.datasets import features as feature_sets
from chorale.datasets import plugins
from chorale.datasets.errors import UserError
from chorale.datasets.features import with_layouts
from chorale.lightning_models import architectures
from chorale.lightning_models.training import speed
from chorale.search.bundle.bundle import Bundle
from chorale.search.bundle.predictor import Predictor
from chorale.search.combining.base import EnsembleModel
from tests.datasets.programs import model_files

pytest.importorskip("onnx", reason="onnx is not installed (pip install '.[onnx]')")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install '.[onnx]')")

from chorale.search.champion.export.onnx_file import OnnxGraph, end_to_end_network, export_onnx
from chorale.search.champion.export.quantise import quantise

RATE = 8_000
CROP = {"crop_s": 0.5}
LENGTHS_S = (0.05, 0.45, 1.02, 2.75, 6.5)
"""Much shorter than a window, a bit shorter, and of several windows up to more than `n_windows`."""

TOLERANCE = 1e-4


def feature_set(name: str) -> ModuleType:
    return plugins.load_plugin(feature_sets, name, kind="feature set")


def accepted_features(name: str) -> tuple[str, ...]:
    return with_layouts(plugins.load_plugin(architectures, name, kind="architecture").LAYOUTS)


def pairs() -> list[Any]:
    """Every architecture with its first exportable feature set; with the others on demand."""
    found = []
    for name in plugins.plugin_names(architectures):
        fitting = [one for one in accepted_features(name) if hasattr(feature_set(one), "network")]
        found += [pytest.param(name, one) for one in fitting[:1]]
        found += [pytest.param(name, one, marks=pytest.mark.heavy) for one in fitting[1:]]
    return found


@pytest.fixture(autouse=True)
def _float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a processor has bf16, PyTorch uses it, and its results differ from float32's."""
    monkeypatch.setattr(speed, "fastest_precision", lambda kind: torch.float32)


def clip(seconds: float, seed: int = 0) -> np.ndarray:
    """Gliding tones in noise."""
    rng = np.random.default_rng(seed)
    n = round(seconds * RATE)
    phase = np.cumsum(rng.uniform(0.05, 1.5, -(-n // 400)).repeat(400)[:n])
    return (0.2 * np.sin(phase) + 0.02 * rng.standard_normal(n)).astype(np.float32)


def max_error(bundle: Path, folder: Path) -> float:
    """The largest difference of a probability from PyTorch's, over all lengths."""
    predictor = Predictor(Bundle.open(bundle))
    export_onnx(end_to_end_network(predictor), folder / "bundle.onnx")
    graph = OnnxGraph.open(folder / "bundle.onnx")
    error = 0.0
    for seconds in LENGTHS_S:
        expected = predictor.predict_waveform(clip(seconds), RATE)
        proba, each = graph.run(clip(seconds))
        assert each.sum(axis=-1) == pytest.approx(1, abs=1e-4)
        error = max(error, float(np.abs(proba - expected.proba).max()))
    return error


@pytest.mark.parametrize(("name", "features"), pairs())
def test_the_graph_predicts_what_pytorch_predicts(
    name: str, features: str, make_bundle: Any, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path / "b", [(name, features, {}, CROP)])
    assert max_error(bundle, tmp_path) < TOLERANCE


def test_training_options_and_ensembling_are_in_the_graph(make_bundle: Any, tmp_path: Path) -> None:
    """Centred frames, few windows, several members on several feature sets, a temperature."""
    members = [
        ("cnn", "mel", {"pooling": "flatten"}, {"center": True, "n_windows": 3, **CROP}),
        ("cnn", "mfcc", {}, {"crop_s": 0.25}),
        ("recurrent", "mel", {}, {"crop_s": 1.0}),
        ("mlp", "mfcc_statistics", {}, {}),
    ]
    model = EnsembleModel(np.array([0.4, 0.2, 0.1, 0.3]))
    bundle = make_bundle(
        tmp_path / "b", members, n_spaces=2, kind="weighted_vote", model=model, temperature=0.7
    )
    assert max_error(bundle, tmp_path) < TOLERANCE


def test_every_bin_of_a_spectrum_is_in_the_graph(make_bundle: Any, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b", [("cnn", "stft", {}, CROP)])
    assert max_error(bundle, tmp_path) < TOLERANCE


def test_a_stacked_ensemble_is_in_the_graph(make_bundle: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {"slopes": rng.normal(0.5, 0.3, (2, 3)), "intercepts": rng.normal(0, 0.3, 3)}
    members: list[Any] = [("cnn", "mel", {}, CROP), ("cnn", "mfcc", {}, CROP)]
    model = EnsembleModel(np.array([0.5, 0.5]), arrays)
    bundle = make_bundle(tmp_path / "b", members, kind="stacking", model=model)
    assert max_error(bundle, tmp_path) < TOLERANCE


@pytest.mark.parametrize(
    ("name", "features"),
    [
        ("mlp", "stats57"),
        ("mlp", "stats518"),
        ("encoder_probe", "encoder"),
        ("image_cnn", "spectrogram_image"),
    ],
)
def test_features_that_cannot_be_exported_are_refused_with_the_reason(
    name: str, features: str, make_bundle: Any, tmp_path: Path
) -> None:
    predictor = Predictor(Bundle.open(make_bundle(tmp_path / "b", [(name, features, {}, {})])))
    with pytest.raises(UserError) as caught:
        end_to_end_network(predictor)
    assert feature_set(features).NO_NETWORK in str(caught.value)
    assert "chorale predict uses it as it is" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_that_is_not_an_onnx_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"not a graph")
    with pytest.raises(UserError, match="export the bundle again"):
        OnnxGraph.open(tmp_path / "x.onnx")


def test_int8_probabilities_are_close_and_features_stay_float32(
    make_bundle: Any, tmp_path: Path
) -> None:
    import onnx

    bundle = make_bundle(tmp_path / "b", [("cnn", "mel", {"dense": 256}, {})])
    exact, small = tmp_path / "float32.onnx", tmp_path / "int8.onnx"
    export_onnx(end_to_end_network(Predictor(Bundle.open(bundle))), exact)
    quantise(exact, small)
    assert small.stat().st_size < exact.stat().st_size
    kinds = {one.name: one.data_type for one in onnx.load(str(small)).graph.initializer}
    assert kinds["feature_networks.mel.power.second"] == onnx.TensorProto.FLOAT
    assert onnx.TensorProto.INT8 in kinds.values()
    waves = [clip(3.0, seed) for seed in range(5)]
    expected = [OnnxGraph.open(exact).run(wave)[0] for wave in waves]
    found = [OnnxGraph.open(small).run(wave)[0] for wave in waves]
    assert np.abs(np.array(found) - np.array(expected)).max() < 0.05


def test_a_loaded_graph_leaves_nothing_in_the_home_folder(tmp_path: Path) -> None:
    file = model_files.onnx(tmp_path / "model.onnx")
    home = tmp_path / "home"
    home.mkdir()
    code = (
        "import sys; from pathlib import Path\n"
        "from chorale.search.champion.export.onnx_file import OnnxGraph\n"
        "OnnxGraph.open(Path(sys.argv[1]))"
    )
    keep = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name}
    subprocess.run(
        [sys.executable, "-c", code, str(file)],
        env={**keep, "HOME": str(home), "XDG_CACHE_HOME": str(home)},
        check=True,
    )
    assert not [path for path in home.rglob("*") if path.is_file()]
