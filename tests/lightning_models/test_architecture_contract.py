"""The contract suite of architectures: every file in `lightning_models/architectures` runs it."""

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from torch import Tensor, nn

from datasets import plugins
from datasets.config import read
from datasets.errors import UserError
from lightning_models import architectures, checkpoint
from lightning_models.module import ONLY_WITH, TRAIN_SPACE, GenreClassifier, TrainConfig

N_BINS, N_FRAMES, N_CLASSES = 40, 64, 5
NAMES = plugins.names(architectures)


def plugin(name: str) -> ModuleType:
    return plugins.load(architectures, name, kind="architecture")


def own(point: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in point.items() if not key.startswith("train.")}


def of_training(point: Mapping[str, Any]) -> dict[str, Any]:
    return {key[6:]: value for key, value in point.items() if key.startswith("train.")}


def ends(distribution: BaseDistribution) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return [distribution.low, distribution.high]


def build(name: str, values: Mapping[str, Any], *, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    file = plugin(name)
    config = read(file.Config, values, where=name)
    return file.build(config, (N_BINS, N_FRAMES), N_CLASSES)


def batch(n: int = 4, *, n_frames: int = N_FRAMES) -> Tensor:
    return torch.randn(n, N_BINS, n_frames, generator=torch.Generator().manual_seed(1))


def points() -> Iterator[Any]:
    """Every default, and every end of every axis of the space with the rest at its default."""
    for name in NAMES:
        file = plugin(name)
        for i, default in enumerate(file.DEFAULTS):
            yield pytest.param(name, own(default), id=f"{name}-default{i}")
        for axis, distribution in file.SPACE.items():
            for value in ends(distribution):
                yield pytest.param(name, {axis: value}, id=f"{name}-{axis}={value}")


def corners() -> Iterator[Any]:
    """All axes at their lower end at once, and all at their upper end."""
    for name in NAMES:
        space = plugin(name).SPACE
        for end, which in (("lower", 0), ("upper", -1)):
            point = {axis: ends(distribution)[which] for axis, distribution in space.items()}
            yield pytest.param(name, point, id=f"{name}-{end}")


def defaults() -> Iterator[Any]:
    for name in NAMES:
        for i, default in enumerate(plugin(name).DEFAULTS):
            yield pytest.param(name, default, id=f"{name}-default{i}")


def all_points() -> list[Any]:
    return list(chain(points(), corners()))


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_eats_and_where_it_comes_from(name: str) -> None:
    file = plugin(name)
    assert file.FEATURES
    assert len(file.DEFAULTS) >= 1
    assert "Source:" in (file.__doc__ or "")


@pytest.mark.parametrize(("name", "point"), defaults())
def test_defaults_lie_inside_the_space(name: str, point: Mapping[str, Any]) -> None:
    file = plugin(name)
    outside = [
        f"{key}={value}"
        for space, values in ((file.SPACE, own(point)), (TRAIN_SPACE, of_training(point)))
        for key, value in values.items()
        if not space[key]._contains(space[key].to_internal_repr(value))
    ]
    assert outside == []


@pytest.mark.parametrize(("name", "point"), defaults())
def test_defaults_leave_out_what_does_not_exist_with_them(
    name: str, point: Mapping[str, Any]
) -> None:
    values = of_training(point)
    idle = [
        key
        for key, (other, needed) in ONLY_WITH.items()
        if key in values and values.get(other, getattr(TrainConfig(), other)) not in needed
    ]
    assert idle == []


@pytest.mark.parametrize(("name", "values"), all_points())
def test_logits_and_embedding_have_their_shapes(name: str, values: Mapping[str, Any]) -> None:
    network = build(name, values).eval()
    x = batch()
    embedding = network.embed(x)
    assert network(x).shape == (4, N_CLASSES)
    assert embedding.ndim == 2
    assert len(embedding) == 4
    torch.testing.assert_close(network(x), network.head(embedding))


@pytest.mark.parametrize(("name", "values"), all_points())
def test_backward_gives_every_weight_a_finite_gradient(
    name: str, values: Mapping[str, Any]
) -> None:
    network = build(name, values).train()
    network(batch()).square().sum().backward()
    without = [n for n, p in network.named_parameters() if p.grad is None]
    broken = [n for n, p in network.named_parameters() if not p.grad.isfinite().all()]
    assert (without, broken) == ([], [])


@pytest.mark.parametrize(("name", "point"), defaults())
def test_the_same_seed_gives_the_same_output(name: str, point: Mapping[str, Any]) -> None:
    first, second = (build(name, own(point), seed=7).eval() for _ in range(2))
    other = build(name, own(point), seed=8).eval()
    assert torch.equal(first(batch()), second(batch()))
    assert not torch.equal(first(batch()), other(batch()))


@pytest.mark.parametrize(("name", "values"), all_points())
def test_longer_input_works(name: str, values: Mapping[str, Any]) -> None:
    network = build(name, values).eval()
    assert network(batch(2, n_frames=2 * N_FRAMES + 3)).shape == (2, N_CLASSES)


@pytest.mark.parametrize("n_frames", [1, 5, 20])
@pytest.mark.parametrize("name", NAMES)
def test_shorter_input_works_or_is_refused(name: str, n_frames: int) -> None:
    file = plugin(name)
    try:
        network = file.build(file.Config(), (N_BINS, n_frames), N_CLASSES).eval()
    except UserError as error:
        assert "train.crop_s" in str(error)  # noqa: PT017 - either is right
    else:
        assert network(batch(2, n_frames=n_frames)).isfinite().all()


@pytest.mark.parametrize(("name", "point"), defaults())
def test_rows_of_a_batch_do_not_touch_one_another(name: str, point: Mapping[str, Any]) -> None:
    network = build(name, own(point)).eval()
    x = batch()
    torch.testing.assert_close(network(x)[:1], network(x[:1]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "point"), defaults())
def test_it_comes_back_from_disk_the_same(
    name: str, point: Mapping[str, Any], tmp_path: Path
) -> None:
    module = GenreClassifier(
        architecture=name,
        config=read(plugin(name).Config, own(point), where=name),
        train_config=TrainConfig(),
        input_shape=(N_BINS, N_FRAMES),
        n_classes=N_CLASSES,
        statistics=(torch.full((N_BINS,), 3.0), torch.full((N_BINS,), 2.0)),
    ).eval()
    checkpoint.save(tmp_path, module, {"labels": list("abcde")})
    loaded, _ = checkpoint.load(tmp_path)
    assert torch.equal(loaded(batch()), module(batch()))


@pytest.mark.parametrize(("name", "point"), defaults())
def test_it_can_learn_one_batch_by_heart(name: str, point: Mapping[str, Any]) -> None:
    network = build(name, {**own(point), "dropout": 0.0}).train()
    x, labels = batch(16), torch.arange(16) % N_CLASSES
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(120):
        logits = network(x)
        if bool((logits.argmax(1) == labels).all()):
            return
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    pytest.fail(f"{(logits.argmax(1) == labels).float().mean():.0%} after 120 steps")
