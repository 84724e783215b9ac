"""The encoders of torchaudio's pipelines, here with networks of a small width.

With the real widths and random weights, `mert_v1_95m` and transformers' HuBERT were equal.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchaudio
from torchaudio.models import wav2vec2_model, wavlm_model

from chorale.datasets.base import ALL_LAYERS
from chorale.datasets.pretrained.installed import encoder_info, encoder_module
from chorale.datasets.programs import waveform_transformer
from chorale.datasets.programs.exported_program import ProgramError

BUNDLES = {
    "wav2vec2_base": "WAV2VEC2_BASE",
    "hubert_base": "HUBERT_BASE",
    "wavlm_base": "WAVLM_BASE",
}
SMALL = {
    "extractor_conv_layer_config": [(8, 10, 5), *[(8, 3, 2)] * 4, *[(8, 2, 2)] * 2],
    "encoder_embed_dim": 16,
    "encoder_num_heads": 4,
    "encoder_ff_interm_features": 24,
}


def small_network(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A network with random weights and all layers of the pipeline, which is replaced by it."""
    real: Any = getattr(torchaudio.pipelines, BUNDLES[name])
    parameters = {**real._params, **SMALL}
    bundle = torchaudio.pipelines.Wav2Vec2Bundle(
        real._path, parameters, real._sample_rate, real._normalize_waveform, real._model_type
    )
    monkeypatch.setattr(torchaudio.pipelines, BUNDLES[name], bundle)
    torch.manual_seed(0)
    return (wavlm_model if name == "wavlm_base" else wav2vec2_model)(**parameters).eval()


def published_names(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As in the published files, which are older than PyTorch's parametrizations."""
    ending = "parametrizations.weight.original"
    return {
        name.replace(f"{ending}0", "weight_g").replace(f"{ending}1", "weight_v"): tensor
        for name, tensor in weights.items()
    }


@pytest.mark.parametrize("name", BUNDLES)
def test_the_facts_are_those_of_the_pipeline(name: str) -> None:
    bundle: Any = getattr(torchaudio.pipelines, BUNDLES[name])
    info = encoder_info(name)
    assert info.sample_rate == bundle.sample_rate
    assert info.file_name == bundle._path
    assert set(info.layers.values()) == {bundle._params["encoder_embed_dim"]}
    assert max(int(layer.removeprefix("layer_")) for layer in info.layers) == 12
    assert bundle._params["encoder_num_layers"] == 12
    strides = [stride for _, _, stride in bundle._params["extractor_conv_layer_config"]]
    assert np.prod(strides) == waveform_transformer.SAMPLES_PER_FRAME
    assert not bundle._normalize_waveform


def test_the_address_is_that_of_torchaudio(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def ask(url: str, **_: object) -> Any:
        asked.append(url)
        raise InterruptedError

    monkeypatch.setattr("torchaudio.pipelines._wav2vec2.utils.load_state_dict_from_url", ask)
    for name, bundle in BUNDLES.items():
        with pytest.raises(InterruptedError):
            getattr(torchaudio.pipelines, bundle).get_model()
        web_file = encoder_info(name).web_file
        assert web_file is not None
        assert asked[-1] == web_file.url


@pytest.mark.parametrize("name", BUNDLES)
def test_layers_are_averaged_over_a_fifth_of_a_second(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    network = small_network(name, monkeypatch)
    info = encoder_info(name)
    file = tmp_path / info.file_name
    torch.save(published_names(network.state_dict()), file)
    windows = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 20_000)).astype(np.float32)
    with torch.inference_mode():
        outputs, _ = network.extract_features(torch.from_numpy(windows))
    starts = np.arange(0, 62, 10)
    sizes = np.diff(np.append(starts, 62))
    assert outputs[0].shape == (2, 62, 16)
    expected = {
        layer: np.add.reduceat(outputs[int(layer.removeprefix("layer_")) - 1].numpy(), starts, 1)
        / sizes[:, None]
        for layer in info.layers
    }
    load = encoder_module(name).load
    for layer, wanted in expected.items():
        found = load(file, layer=layer, device="cpu")(windows)
        assert found.shape == (2, 7, 16)
        np.testing.assert_allclose(found, wanted, atol=2e-6)
    every = load(file, layer=ALL_LAYERS, device="cpu")(windows)
    np.testing.assert_allclose(every, np.concatenate(list(expected.values()), 2), atol=2e-6)
    assert np.abs(expected["layer_3"] - expected["layer_12"]).max() > 0.1


def test_a_head_for_speech_recognition_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    network = small_network("hubert_base", monkeypatch)
    file = tmp_path / "hubert.pth"
    torch.save({**network.state_dict(), "aux.weight": torch.zeros(4, 16)}, file)
    load = encoder_module("hubert_base").load
    silence = np.zeros((1, 16_000), np.float32)
    assert load(file, layer="layer_3", device="cpu")(silence).shape == (1, 5, 16)
    torch.save({**network.state_dict(), "other.weight": torch.zeros(4, 16)}, file)
    with pytest.raises(ProgramError, match=r"HUBERT_BASE \(Unexpected key.*other.weight") as got:
        load(file, layer="layer_3", device="cpu")
    assert "\n" not in str(got.value)
