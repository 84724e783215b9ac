"""The last blocks of an encoder in training: first weights, learning rates, input, checkpoints."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from chorale.datasets.errors import UserError
from chorale.datasets.features import block_input
from chorale.datasets.pretrained import fine_tuning
from chorale.lightning_models.architectures import encoder_blocks
from chorale.lightning_models.architectures.encoder_blocks import EncoderBlocks
from chorale.lightning_models.data.datamodule import FoldData, MemoryFrames
from chorale.lightning_models.train_config import TrainConfig
from chorale.lightning_models.training import checkpoint, optimizers
from chorale.lightning_models.training.fit import TrainedNetwork, train_network
from chorale.lightning_models.training.module import GenreClassifier
from tests.search.encoders import add_musicnn, ship_toy

SHAPE = (1, 12, 30)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the shipped encoder `toyblocks`, which has two blocks."""
    return ship_toy(monkeypatch, tmp_path / "encoders")


def config(n_blocks: int = 2, **values: Any) -> encoder_blocks.Config:
    of_features = block_input.Config(name="toyblocks", fine_tune=n_blocks).network_values
    return encoder_blocks.Config(**{**of_features, **values})


def network(**values: Any) -> EncoderBlocks:
    torch.manual_seed(0)
    made = encoder_blocks.build(config(**values), SHAPE, 3)
    assert isinstance(made, EncoderBlocks)
    return made


def noise(n: int = 6) -> torch.Tensor:
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(1))


def test_every_network_starts_from_the_published_weights(file: Path) -> None:
    published = load_file(file)
    first = network()
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(1.0)
    second, random = network(), network(weights="none")
    for name, value in published.items():
        if name != "front":
            assert torch.equal(second.get_parameter(f"blocks.blocks.{name}"), value)
            assert not torch.equal(random.get_parameter(f"blocks.blocks.{name}"), value)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_step_of_a_block_is_scaled_by_its_distance_from_the_classifier(
    file: Path, optimizer: Any
) -> None:
    made = network(lr_decay=0.5, hidden=128).train()
    settings = TrainConfig(optimizer=optimizer, momentum=0.0, weight_decay=0.0)
    rule = optimizers.build_optimizer(made, settings)
    optimizers.set_lr(rule, 0.01)
    before = {name: value.detach().clone() for name, value in made.named_parameters()}
    nn.functional.cross_entropy(made(noise()), torch.arange(6) % 3).backward()  # type: ignore[no-untyped-call]
    rule.step()
    for name, value in made.named_parameters():
        scale = {"blocks.blocks.0": 0.25, "blocks.blocks.1": 0.5}.get(name.rpartition(".")[0], 1.0)
        grad = value.grad
        assert grad is not None
        direction = grad if optimizer == "sgd" else grad / (grad.abs() + 1e-8)  # adam's first step
        torch.testing.assert_close(
            before[name] - value, 0.01 * scale * direction, atol=1e-7, rtol=0
        )
    moved = before["blocks.blocks.0.weight"] - made.get_parameter("blocks.blocks.0.weight")
    assert moved.abs().max() > 0


def test_blocks_get_frames_as_the_encoder_computes_them(file: Path) -> None:
    statistics = (torch.arange(12.0), torch.arange(12.0) + 0.5)
    module = GenreClassifier(
        architecture="encoder_blocks",
        config=config(),
        train_config=TrainConfig(),
        input_shape=SHAPE,
        n_classes=3,
        statistics=statistics,
    ).eval()
    seen: list[torch.Tensor] = []
    module.network.blocks.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    x = noise()
    module(x)
    torch.testing.assert_close(seen[0], x[:, 0], atol=1e-5, rtol=0)
    loaded = dict(module.state_dict())
    torch.testing.assert_close(loaded["network.input_mean"][:, 0], statistics[0])


def fold() -> FoldData:
    rng = np.random.default_rng(0)
    labels = np.arange(24) % 3
    tracks = [rng.uniform(0, 0.5, (12, 45)).astype(np.float32) for _ in labels]
    for track, label in zip(tracks, labels, strict=True):
        track[4 * label : 4 * label + 4] += 1
    rows = np.arange(24)
    return FoldData(
        store=MemoryFrames.of(tracks, frame_rate_hz=100.0),
        train_rows=rows[:16],
        valid_rows=rows[16:],
        labels=labels,
        n_classes=3,
    )


def fit(folder: Path | None = None, *, stop_after: int = 99, **values: Any) -> TrainedNetwork:
    given = {"max_epochs": 6, "batch_size": 8, "crop_s": 0.3, "lr": 3e-3, "ema_decay": 0.9}
    return train_network(
        architecture="encoder_blocks",
        config=config(lr_decay=0.5),
        train_config=TrainConfig(**{**given, **values}),
        data=fold(),
        seed=0,
        keep="last",
        on_epoch=lambda epoch, metrics: epoch >= stop_after,
        log_dir=None,
        resume_from=folder,
        save_to=folder,
        save_every=1,
    )


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "rmsprop"])
def test_an_interrupted_fine_tuning_ends_in_the_same_weights(
    file: Path, tmp_path: Path, optimizer: Any
) -> None:
    whole = fit(optimizer=optimizer)
    fit(tmp_path / "state", stop_after=3, optimizer=optimizer)
    resumed = fit(tmp_path / "state", optimizer=optimizer)
    assert 0 < resumed.resumed_after < 6
    state = whole.module.state_dict()
    assert state.keys() == resumed.module.state_dict().keys()
    for name, value in resumed.module.state_dict().items():
        assert torch.equal(value, state[name]), name
    published = load_file(file)
    assert not torch.equal(state["network.blocks.blocks.0.weight"], published["0.weight"])


@pytest.mark.usefixtures("file")
def test_the_first_network_of_a_process_is_that_of_its_seed() -> None:
    fine_tuning._published.cache_clear()
    first, second = network(), network()
    for name, value in second.state_dict().items():
        assert torch.equal(value, first.state_dict()[name]), name


@pytest.mark.usefixtures("file")
def test_it_learns() -> None:
    assert fit(max_epochs=60, lr=1e-2, ema_decay=0.0).metrics["accuracy"] > 0.9


def test_a_checkpoint_needs_no_file_of_the_encoder(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = fit(max_epochs=1).module
    checkpoint.save_checkpoint(tmp_path / "one", module, {"labels": list("abc")})
    file.unlink()
    loaded, _ = checkpoint.load_checkpoint(tmp_path / "one")
    assert torch.equal(loaded(noise()), module(noise()))


def test_other_weights_than_meant_are_one_line(file: Path) -> None:
    meant = config()
    other = add_musicnn(file.parent)
    file.write_bytes(other.read_bytes())
    with pytest.raises(UserError, match=r"is another file .* put the one with the SHA-256") as got:
        encoder_blocks.build(meant, SHAPE, 3)
    assert "\n" not in str(got.value)
    file.unlink()
    with pytest.raises(UserError, match="has not been fetched") as got:
        encoder_blocks.build(meant, SHAPE, 3)
    assert "\n" not in str(got.value)


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "musicnn.safetensors"
    file.write_bytes(b"damaged")
    of_features = block_input.Config(name="musicnn", path=str(file)).network_values
    with pytest.raises(UserError, match=r"is damaged .* chorale encoder fetch musicnn") as got:
        encoder_blocks.build(encoder_blocks.Config(**of_features), (1, 689, 30), 3)
    assert "\n" not in str(got.value)


def test_without_an_encoder_it_says_what_to_type() -> None:
    with pytest.raises(UserError, match="fine_tune: 1"):
        encoder_blocks.build(encoder_blocks.Config(), SHAPE, 3)
