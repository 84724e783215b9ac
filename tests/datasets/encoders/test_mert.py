"""MERT-v1-95M computes what transformers' HuBERT does, here at a small width.

With the real widths and random weights, both were equal; the weights were not to be had here.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chorale.datasets.encoders import mert_v1_95m
from chorale.datasets.programs.exported_program import ProgramError
from tests.datasets.encoders.test_waveform_transformers import published_names, small_network

RATE, N_SAMPLES = 24_000, 30_000


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The network of transformers; its weights are in the published form in `tmp_path`."""
    from transformers import HubertConfig, HubertModel  # here, as every process collects this file

    small_network("hubert_base", monkeypatch)
    torch.manual_seed(0)
    config = HubertConfig(
        hidden_size=16, num_attention_heads=4, intermediate_size=24, conv_dim=(8,) * 7
    )
    network: Any = HubertModel(config)
    network.eval()
    with torch.no_grad():
        for one in network.parameters():
            one.add_(0.2 * torch.randn_like(one))
    torch.save(published_names(network.state_dict()), tmp_path / "pytorch_model.bin")
    return network


def test_layers_are_those_of_the_publishers(reference: Any, tmp_path: Path) -> None:
    from transformers import Wav2Vec2FeatureExtractor

    rng = np.random.default_rng(0)
    window = (3 + 0.1 * rng.standard_normal(N_SAMPLES)).astype(np.float32)
    extractor: Any = Wav2Vec2FeatureExtractor
    prepare = extractor(feature_size=1, sampling_rate=RATE, padding_value=0.0, do_normalize=True)
    inputs = prepare(window, sampling_rate=RATE, return_tensors="pt")["input_values"]
    with torch.inference_mode():
        states = reference(inputs, output_hidden_states=True).hidden_states
    file = tmp_path / mert_v1_95m.INFO.file_name
    for layer in mert_v1_95m.INFO.layers:
        hidden = states[int(layer.removeprefix("layer_"))][0].numpy()
        wanted = np.stack([hidden[i : i + 15].mean(0) for i in range(0, len(hidden), 15)])
        found = mert_v1_95m.load(file, layer=layer, device="cpu")(window[None])
        assert found.shape == (1, 7, 16)
        np.testing.assert_allclose(found[0], wanted, atol=1e-5)


def test_silence_is_finite(reference: Any, tmp_path: Path) -> None:
    run = mert_v1_95m.load(tmp_path / "pytorch_model.bin", layer="layer_3", device="cpu")
    assert np.isfinite(run(np.zeros((1, N_SAMPLES), np.float32))).all()


def test_a_tensor_that_is_missing_is_one_line(reference: Any, tmp_path: Path) -> None:
    file = tmp_path / "pytorch_model.bin"
    weights = torch.load(file, weights_only=True)
    del weights["feature_projection.projection.bias"]
    torch.save(weights, file)
    with pytest.raises(ProgramError, match=r"Missing key.*feature_projection.projection.bias"):
        mert_v1_95m.load(file, layer="layer_3", device="cpu")
