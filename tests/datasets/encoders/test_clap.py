"""The audio tower of CLAP computes what transformers' does, here at a small width.

With the real widths and random weights, embeddings differed by at most 5e-5; the weights could not
be had for this test.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chorale.datasets.base import ALL_LAYERS
from chorale.datasets.encoders import clap_htsat_unfused
from chorale.datasets.programs import clap_network
from chorale.datasets.programs.exported_program import ProgramError
from chorale.datasets.programs.network_weights import read_weights
from chorale.datasets.programs.swin_transformer import SwinConfig

RATE, N_SAMPLES = 48_000, 480_000
DEPTHS, HEADS, WIDTH = (2, 2, 3, 2), (2, 2, 4, 4), 8


@pytest.fixture(scope="module")
def reference() -> Any:
    from transformers import ClapAudioConfig  # here, as every process collects this file
    from transformers.models.clap.modeling_clap import ClapAudioModelWithProjection

    torch.manual_seed(0)
    config = ClapAudioConfig(
        patch_embeds_hidden_size=WIDTH,
        depths=list(DEPTHS),
        num_attention_heads=list(HEADS),
        hidden_size=8 * WIDTH,
        projection_dim=12,
    )
    network: Any = ClapAudioModelWithProjection(config)
    network.eval()
    with torch.no_grad():
        for one in network.parameters():
            one.add_(0.3 * torch.randn_like(one))
        norm = network.audio_model.audio_encoder.batch_norm
        norm.running_mean.uniform_(-60, 0)
        norm.running_var.uniform_(100, 300)
    return network


@pytest.fixture
def folder(reference: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """With the published file, in which there is a text tower as well."""
    small = SwinConfig(width=WIDTH, depths=DEPTHS, n_heads=HEADS, window=8)
    monkeypatch.setattr(clap_network, "SWIN", small)
    monkeypatch.setattr(clap_network, "N_EMBEDDING", 12)
    other = {"text_model.embeddings.weight": torch.zeros(4, 3), "logit_scale_a": torch.tensor(1.0)}
    torch.save({**reference.state_dict(), **other}, tmp_path / "pytorch_model.bin")
    return tmp_path


def sounds() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "full": 0.1 * rng.standard_normal(N_SAMPLES).astype(np.float32),
        "short": 0.1 * rng.standard_normal(150_001).astype(np.float32),
        "swelling": (np.linspace(0.1, 1, N_SAMPLES) * rng.standard_normal(N_SAMPLES)).astype("f4"),
    }


@pytest.mark.parametrize("sound", ["full", "short", "swelling"])
def test_embeddings_are_those_of_the_publishers(sound: str, reference: Any, folder: Path) -> None:
    from transformers import ClapFeatureExtractor

    waveform = sounds()[sound]
    prepare: Any = ClapFeatureExtractor(
        frequency_min=50, frequency_max=14_000, truncation="rand_trunc", padding="repeatpad"
    )
    inputs = prepare(waveform, sampling_rate=RATE, return_tensors="pt")["input_features"]
    with torch.inference_mode():
        embedding = reference(inputs).audio_embeds[0].numpy()
        pooled = reference.audio_model(inputs).pooler_output[0].numpy()
    clap_htsat_unfused.convert(folder)
    file = folder / clap_htsat_unfused.INFO.file_name
    window = np.pad(waveform, (0, N_SAMPLES - len(waveform)))
    before = window.copy()

    def run(layer: str) -> np.ndarray:
        made = clap_htsat_unfused.load(file, layer=layer, device="cpu")(window[None])
        assert made.shape[:2] == (1, 1)
        return np.asarray(made[0, 0])

    np.testing.assert_allclose(run("embedding"), embedding, atol=2e-4)
    np.testing.assert_allclose(run("pooled"), pooled, atol=2e-4)
    np.testing.assert_allclose(run(ALL_LAYERS), np.concatenate([embedding, pooled]), atol=2e-4)
    np.testing.assert_array_equal(window, before)
    silence = clap_htsat_unfused.load(file, layer=ALL_LAYERS, device="cpu")(0 * window[None])[0, 0]
    assert np.abs(silence[:12] - embedding).max() > 0.05
    assert np.abs(silence[12:] - pooled).max() > 0.05


def test_only_the_audio_tower_is_kept(folder: Path) -> None:
    clap_htsat_unfused.convert(folder)
    kept = read_weights(folder / clap_htsat_unfused.INFO.file_name)
    assert set(kept) == set(clap_network.expected_shapes())
    assert all(name.startswith(clap_network.AUDIO_PARTS) for name in kept)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([1, 2, 3, 0, 0, 0, 0, 0], [1, 2, 3, 1, 2, 3, 0, 0]),
        ([0, 2, 0, 4, 5, 0, 0, 0], [0, 2, 0, 4, 5, 0, 0, 0]),
        ([1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4, 5, 6, 7, 8]),
        ([0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0]),
    ],
)
def test_a_short_recording_is_repeated_as_often_as_it_fits(
    content: list[int], expected: list[int]
) -> None:
    assert clap_network.repeated(np.array(content, np.float32)).tolist() == expected


def test_another_network_is_one_line(folder: Path) -> None:
    file = folder / "pytorch_model.bin"
    weights = torch.load(file, weights_only=True)
    name = "audio_model.audio_encoder.layers.2.blocks.1.attention.self.query.weight"
    weights[name] = torch.zeros(3, 3)
    torch.save(weights, file)
    with pytest.raises(ProgramError, match=rf"'{name}' should be \(32, 32\), but is \(3, 3\)"):
        clap_htsat_unfused.convert(folder)
