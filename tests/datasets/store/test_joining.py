"""Stores made from stores: layers are columns of one run, joined features are side by side."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from chorale.datasets import encoders
from chorale.datasets.audio import content_hash
from chorale.datasets.features import encoder, joined
from chorale.datasets.pretrained import track_frames
from chorale.datasets.store.joining import build_store

PLUGIN = """
from chorale.datasets.base import ALL_LAYERS, EncoderInfo

INFO = EncoderInfo(
    name="toy_layers", title="A toy", trained_on="nothing", code_licence="MIT",
    weights_licence="MIT", citation="nobody", homepage="", sample_rate=8000, window_s=0.25,
    layers={"a": 2, "b": 3}, file_name="toy.bin",
)
FACTORS = {"a": [1, 2], "b": [3, 4, 5], ALL_LAYERS: [1, 2, 3, 4, 5]}


def load(file, *, layer, device):
    import numpy as np
    import torch

    def run(windows):
        assert torch.get_num_threads() == 1, "as workers use all cores"
        with (file.parent / "runs.txt").open("a") as log:
            log.write(f"{layer}\\n" * len(windows))
        return (windows.max(axis=1)[:, None, None] * np.array(FACTORS[layer])).astype(np.float32)

    return run
"""


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The log of a shipped encoder of two layers: a line for each window."""
    (tmp_path / "shipped").mkdir()
    (tmp_path / "shipped" / "toy_layers.py").write_text(PLUGIN)
    monkeypatch.setattr(encoders, "__path__", [*encoders.__path__, str(tmp_path / "shipped")])
    monkeypatch.setenv("CHORALE_ENCODERS", str(tmp_path / "encoders"))
    (tmp_path / "encoders" / "toy_layers").mkdir(parents=True)
    (tmp_path / "encoders" / "toy_layers" / "toy.bin").write_bytes(b"weights")
    track_frames.chunk_shape.cache_clear()  # so that each test measures it once
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield tmp_path / "encoders" / "toy_layers" / "runs.txt"
    torch.set_num_threads(before)


@pytest.fixture
def tracks(tmp_path: Path) -> pd.DataFrame:
    rows = []
    for i, n in enumerate((2_000, 6_000, 4_000)):
        wave = np.random.default_rng(i).uniform(-0.5, 0.5, n)
        soundfile.write(tmp_path / f"{i}.wav", wave, 8_000, subtype="FLOAT")
        path = tmp_path / f"{i}.wav"
        rows.append((str(i), str(path), content_hash(path), n / 8_000))
    return pd.DataFrame(rows, columns=["track_id", "path", "content", "duration_s"])


def test_all_layers_come_from_one_run_of_the_encoder(
    runs: Path, tracks: pd.DataFrame, tmp_path: Path
) -> None:
    configs = {
        "encoder-toy_layers": encoder.Config(name="toy_layers"),
        "encoder-toy_layers.b": encoder.Config(name="toy_layers", layer="b"),
    }
    stores = [build_store(tracks, n, one, root=tmp_path / "cache") for n, one in configs.items()]
    of_files = [line for line in runs.read_text().splitlines() if line == "all"]
    assert len(of_files) == 1 + 3 + 2 + 1  # the windows of all tracks, and one that measures
    first, second = (store.frames for store in stores)
    assert (first.shape, second.shape) == ((6, 2), (6, 3))
    np.testing.assert_allclose(first[:, 1], 2 * first[:, 0], rtol=1e-6)
    np.testing.assert_allclose(second, first[:, :1] * np.array([3, 4, 5]), rtol=1e-6)
    waveform = soundfile.read(tracks["path"].iloc[1], dtype="float32")[0]
    alone = encoder.extract(waveform, configs["encoder-toy_layers.b"])
    np.testing.assert_allclose(second[1:4], alone.T, rtol=1e-6)


def test_joined_layers_are_side_by_side_and_equal_to_extraction(
    runs: Path, tracks: pd.DataFrame, tmp_path: Path
) -> None:
    parts = {
        "encoder-toy_layers": {"name": "toy_layers"},
        "encoder-toy_layers.b": {"name": "toy_layers", "layer": "b"},
    }
    config = joined.Config(parts=parts)
    store = build_store(tracks, "joined-a+b", config, root=tmp_path / "cache")
    assert store.n_bins == config.n_bins == 5
    assert runs.read_text().splitlines().count("all") == 1 + 3 + 2 + 1
    waveform = soundfile.read(tracks["path"].iloc[1], dtype="float32")[0]
    np.testing.assert_allclose(store.frames[1:4], joined.extract(waveform, config).T, rtol=1e-6)


def test_an_encoder_of_one_output_has_no_other_layers(runs: Path) -> None:
    del runs
    assert encoder.Config(name="toy_layers", layer="all").n_bins == 5
    with pytest.raises(ValueError, match="has the outputs a, b, all, but got layer=c"):
        encoder.Config(name="toy_layers", layer="c")
