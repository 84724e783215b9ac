"""Bundles that no study made: untrained networks of any architecture, on any features."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chorale.datasets import features, plugins
from chorale.datasets.config import plain, read
from chorale.lightning_models import architectures, checkpoint
from chorale.lightning_models.module import GenreClassifier
from chorale.lightning_models.train_config import TrainConfig
from chorale.search import fitted_file
from chorale.search.base import Model
from chorale.search.champion.bundle import Network
from chorale.search.champion.writing import copy_file, write_bundle, write_manifest
from chorale.search.paths import BundlePaths

LABELS = ("blues", "jazz", "metal")
RATE = 8_000
SMALL: Mapping[str, Mapping[str, Any]] = {
    "mel": {"sample_rate": RATE, "n_fft": 256, "hop_length": 128, "n_mels": 40},
    "mfcc": {"sample_rate": RATE, "n_fft": 256, "hop_length": 128, "n_mels": 40, "n_mfcc": 20},
    "stft": {"sample_rate": RATE, "n_fft": 128, "hop_length": 64},
    "spectrogram_image": {
        "sample_rate": RATE,
        "n_fft": 256,
        "hop_length": 128,
        "n_mels": 40,
        "height": 64,
        "width": 96,
        "duration_s": 2.0,
    },
    "stats57": {},
    "stats518": {},
}
"""Configs of feature sets that are computed quickly."""

Member = tuple[str, str, Mapping[str, Any], Mapping[str, Any]]
"""Architecture, features, its config, its training config."""

MakeBundle = Callable[..., Path]


class Encoder(torch.nn.Module):
    """`(1, n_samples)` -> `(1, n_samples // 320, 24)`."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(320, 24)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n_frames = x.shape[1] // 320
        return torch.tanh(self.layer(x[:, : n_frames * 320].reshape(1, n_frames, 320)))


@pytest.fixture(scope="session")
def encoder_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small frozen encoder, as TorchScript."""
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("encoder") / "ears.pt"
    torch.jit.save(torch.jit.script(Encoder()), file)
    return file


@pytest.fixture(scope="session")
def make_bundle(encoder_file: Path) -> MakeBundle:
    """Writes a bundle of `members`, each trained (not at all) `n_spaces` times."""

    def make(
        folder: Path,
        members: Sequence[Member],
        *,
        n_spaces: int = 1,
        kind: str = "soft_vote",
        model: Model | None = None,
        temperature: float = 1.0,
    ) -> Path:
        def fill(paths: BundlePaths) -> None:
            networks, configs = [], {}
            for at, (name, eaten, values, training) in enumerate(members):
                if eaten not in configs:
                    configs[eaten] = _features_config(eaten, paths, encoder_file)
                for space in range(n_spaces):
                    module = _untrained(
                        name, eaten, values, training, configs[eaten], 10 * at + space, paths
                    )
                    place = paths.networks / f"{at}-{space}"
                    checkpoint.save(place, module, {"labels": list(LABELS)})
                    networks.append(Network(f"networks/{place.name}", at, space, eaten))
            names = tuple(f"{i}" for i in range(len(members)))
            fitted = model or Model(np.full(len(members), 1 / len(members)))
            fitted_file.write_model(paths.ensemble, fitted, kind=kind, members=names)
            write_manifest(
                paths,
                {
                    "study": "none",
                    "labels": list(LABELS),
                    "kind": kind,
                    "members": list(names),
                    "architectures": [name for name, *_ in members],
                    "networks": [asdict(one) for one in networks],
                    "features": configs,
                    "temperature": temperature,
                    "coverage": 0.9,
                    "least_proba": 0.2,
                    "most_disagreement": 0.1,
                    "about": {},
                },
            )

        write_bundle(folder, fill)
        return folder

    return make


def _features_config(name: str, paths: BundlePaths, encoder_file: Path) -> dict[str, Any]:
    if name != "encoder":
        return dict(SMALL[name])
    copy_file(encoder_file, paths.encoders / encoder_file.name)
    plugin = plugins.load(features, name, kind="feature set")
    sizes = {"sample_rate": RATE, "chunk_s": 1.0, "path": str(encoder_file)}
    config = plain(read(plugin.Config, sizes, where="test"))
    return {**config, "path": f"encoders/{encoder_file.name}"}


def _untrained(
    name: str,
    eaten: str,
    values: Mapping[str, Any],
    training: Mapping[str, Any],
    features_config: Mapping[str, Any],
    seed: int,
    paths: BundlePaths,
) -> GenreClassifier:
    ear = plugins.load(features, eaten, kind="feature set")
    given = dict(features_config)
    if given.get("path"):
        given["path"] = str(paths.root / given["path"])
    config = read(ear.Config, given, where="test")
    plugin = plugins.load(architectures, name, kind="architecture")
    train_config = TrainConfig(**{"crop_s": 1.0, **training})
    n_channels = getattr(config, "n_channels", 1)
    n_frames = round(train_config.crop_s * config.frame_rate_hz) or 1
    wave = 0.1 * np.random.default_rng(0).standard_normal(3 * config.sample_rate)
    heard = np.asarray(ear.extract(wave.astype(np.float32), config)).reshape(config.n_bins, -1)
    mean, std = heard.mean(axis=1), np.maximum(heard.std(axis=1), 1.0)
    torch.manual_seed(seed)
    module = GenreClassifier(
        architecture=name,
        config=read(plugin.Config, values, where="test"),
        train_config=train_config,
        input_shape=(n_channels, config.n_bins // n_channels, n_frames),
        n_classes=len(LABELS),
        statistics=(torch.tensor(mean), torch.tensor(std.astype(np.float32))),
    )
    _settle(module)
    return module.eval()


def _settle(module: GenreClassifier) -> None:
    """Lets batch norms see something, so that the network does not say the same of everything."""
    n_channels, n_bins, n_frames = module.input_shape
    x = torch.randn(8, n_channels, n_bins, n_frames) * module.std + module.mean
    module.train()
    with torch.no_grad():
        for _ in range(20):
            module(x)
