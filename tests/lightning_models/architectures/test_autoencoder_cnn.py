from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from chorale.lightning_models.architectures import autoencoder_cnn
from chorale.lightning_models.architectures.autoencoder_cnn import AutoencoderCnn, Config, build
from chorale.lightning_models.data.datamodule import FoldData, MemoryFrames
from chorale.lightning_models.train_config import TrainConfig
from chorale.lightning_models.training.fit import TrainedNetwork, train_network


def network(shape: tuple[int, int, int] = (1, 16, 20), **values: Any) -> AutoencoderCnn:
    torch.manual_seed(0)
    made = build(Config(**values), shape, 3)
    assert isinstance(made, AutoencoderCnn)
    return made


def n_parameters(part: nn.Module) -> int:
    return sum(p.numel() for p in part.parameters())


def test_encoder_and_decoder_are_the_published_ones_on_pictures_of_four_channels() -> None:
    values = {k: v for k, v in autoencoder_cnn.DEFAULTS[-1].items() if not k.startswith("train.")}
    made = network((4, 288, 432), **values)
    shapes = [value.shape for value in made.encoder.state_dict().values() if value.ndim == 4]
    channels = [(n_in, n_out) for n_out, n_in, _, _ in shapes]
    assert channels == [(4, 16), (16, 32), (32, 64), (64, 128)]
    by_hand = [4 * 16 * 9 + 16, 16 * 32 * 9 + 32, 32 * 64 * 9 + 64, 64 * 128 * 9 + 128]
    assert [n_parameters(layer) for layer in made.encoder] == by_hand
    assert n_parameters(made.encoder) == 97_584
    assert n_parameters(made.decoder) == 97_460
    x = torch.zeros(1, 4, 288, 432)
    latent, _ = made._encode(x)
    assert latent.shape == (1, 128, 27, 18)
    assert latent.numel() * 8 == x.numel()  # undercomplete


@pytest.mark.parametrize("n_layers", [1, 4])
@pytest.mark.parametrize("size", [(1, 1, 1), (4, 7, 13), (1, 33, 5), (3, 16, 32), (1, 96, 130)])
def test_a_reconstruction_has_the_shape_of_its_input(
    size: tuple[int, int, int], n_layers: int
) -> None:
    made = network(size, n_layers=n_layers).eval()
    x = torch.randn(2, *size)
    logits, seen = made.both(x)
    assert seen.shape == x.shape
    assert torch.equal(logits, made(x))
    assert torch.equal(seen, made.reconstruct(x))


def fold() -> FoldData:
    rng = np.random.default_rng(0)
    labels = np.arange(24) % 3
    tracks = [rng.normal(0, 0.3, (9, 15)).astype(np.float32) for _ in labels]
    for track, label in zip(tracks, labels, strict=True):
        track[3 * label : 3 * label + 3] += 3
    rows = np.arange(24)
    return FoldData(
        store=MemoryFrames.of(tracks, frame_rate_hz=10.0),
        train_rows=rows[:16],
        valid_rows=rows[16:],
        labels=labels,
        n_classes=3,
    )


class Parts(list[dict[str, torch.Tensor]]):
    """The weights after each epoch."""


def fit(
    parts: Parts | None = None, *, max_epochs: int = 4, seed: int = 0, **values: Any
) -> TrainedNetwork:
    def note(epoch: int, scores: object) -> bool:
        if parts is not None and made:
            parts.append({k: v.clone() for k, v in made[0].state_dict().items()})
        return False

    made: list[nn.Module] = []
    real = AutoencoderCnn.__init__

    def remember(self: AutoencoderCnn, *arguments: Any) -> None:
        real(self, *arguments)
        made.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AutoencoderCnn, "__init__", remember)
        return train_network(
            architecture="autoencoder_cnn",
            config=Config(n_layers=2, width=4, filters=8, dense=8, dropout=0.0, **values),
            train_config=TrainConfig(
                max_epochs=max_epochs, batch_size=8, crop_s=1.1, lr=1e-2, patience=1
            ),
            data=fold(),
            seed=seed,
            keep="last",
            on_epoch=note,
            log_dir=None,
        )


def moved(parts: Parts, i: int, prefix: str) -> bool:
    names = [n for n in parts[0] if n.startswith(prefix) and n.endswith(("weight", "bias"))]
    assert names
    return any(not torch.equal(parts[i][n], parts[i - 1][n]) for n in names)


@pytest.mark.parametrize("freeze", [False, True])
def test_pretraining_trains_only_the_reconstruction_and_then_the_classifier(freeze: bool) -> None:
    parts = Parts()
    fit(parts, mode="first", pretrain=0.5, freeze=freeze)  # epochs 1 and 2, then 3 and 4
    names = ("encoder", "decoder", "classifier", "head")
    assert [moved(parts, 1, name) for name in names] == [True, True, False, False]
    assert [moved(parts, 3, name) for name in names] == [not freeze, False, True, True]


def test_joint_training_changes_all_parts_from_the_first_epoch() -> None:
    parts = Parts()
    fit(parts, mode="jointly")
    assert all(moved(parts, 1, name) for name in ("encoder", "decoder", "classifier", "head"))


@pytest.mark.parametrize(
    "values", [{"mode": "first", "freeze": True, "pretrain": 0.7}, {"mode": "jointly"}]
)
def test_it_learns_reconstruction_and_classes(values: Any) -> None:
    trained = fit(max_epochs=30, seed=1, **values)  # most seeds need more epochs
    assert trained.metrics["accuracy"] > 0.8
    data, module = fold(), trained.module
    x = torch.from_numpy(data.store.frames[:15].T.copy()).view(1, 1, 9, 15)
    x = (x - module.mean) / module.std
    with torch.inference_mode():
        seen = module.network.reconstruct(x)
    assert float((seen - x).square().mean()) < 0.5 * float(x.square().mean())
    assert float(seen.min()) < 0


@pytest.mark.parametrize(
    ("max_epochs", "pretrain", "n"), [(1, 0.5, 0), (2, 0.1, 1), (10, 0.3, 3), (10, 0.99, 9)]
)
def test_at_least_one_epoch_trains_the_classifier(max_epochs: int, pretrain: float, n: int) -> None:
    module = fit(max_epochs=max_epochs, mode="first", pretrain=pretrain).module
    assert module.first_scored_epoch == n + 1
