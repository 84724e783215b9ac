"""The contract suite of architectures: every file in `lightning_models/architectures` runs it."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chorale.datasets import plugins
from chorale.datasets.base import Layout
from chorale.datasets.config import read_config
from chorale.datasets.errors import UserError
from chorale.lightning_models import architectures
from chorale.lightning_models.base import InputShape
from chorale.lightning_models.distributions import CategoricalDistribution, Distribution
from chorale.lightning_models.train_config import REQUIRED_PARAMETER, TRAIN_SPACE, TrainConfig
from chorale.lightning_models.training import checkpoint
from chorale.lightning_models.training.module import GenreClassifier

N_CLASSES = 5
SHAPES: Mapping[Layout, Sequence[InputShape]] = {
    "spectrogram": [(1, 40, 64), (1, 20, 64), (1, 65, 64)],
    "picture": [(1, 64, 96)],
    "embedding": [(1, 24, 30)],
    "table": [(1, 57, 1), (1, 518, 1), (1, 12, 1)],
}
"""Layout -> input shapes of it, (n_channels, n_bins, n_frames)."""
NAMES = plugins.plugin_names(architectures)


def plugin(name: str) -> ModuleType:
    return plugins.load_plugin(architectures, name, kind="architecture")


def own(point: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in point.items() if not key.startswith("train.")}


def of_training(point: Mapping[str, Any]) -> dict[str, Any]:
    return {key[6:]: value for key, value in point.items() if key.startswith("train.")}


def ends(distribution: Distribution) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    return [distribution.low, distribution.high]


def shape_for(name: str) -> InputShape:
    """An input shape of the architecture's preferred layout."""
    return SHAPES[plugin(name).LAYOUTS[0]][0]


def build(name: str, values: Mapping[str, Any], *, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    file = plugin(name)
    config = read_config(file.Config, values, where=name)
    return file.build(config, shape_for(name), N_CLASSES)


def batch(shape: InputShape, n: int = 4) -> Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(1))


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
def test_it_declares_its_layouts_and_its_source(name: str) -> None:
    file = plugin(name)
    assert set(file.LAYOUTS) <= SHAPES.keys()
    assert file.LAYOUTS
    assert len(file.DEFAULTS) >= 1
    assert "Source:" in (file.__doc__ or "")


@pytest.mark.parametrize(("name", "point"), defaults())
def test_defaults_are_inside_the_space(name: str, point: Mapping[str, Any]) -> None:
    file = plugin(name)
    outside = [
        f"{key}={value}"
        for space, values in ((file.SPACE, own(point)), (TRAIN_SPACE, of_training(point)))
        for key, value in values.items()
        if not space[key].contains(value)
    ]
    assert outside == []


@pytest.mark.parametrize(("name", "point"), defaults())
def test_defaults_leave_out_conditional_parameters_that_do_not_apply(
    name: str, point: Mapping[str, Any]
) -> None:
    values = of_training(point)
    idle = [
        key
        for key, (other, needed) in REQUIRED_PARAMETER.items()
        if key in values and values.get(other, getattr(TrainConfig(), other)) not in needed
    ]
    assert idle == []


@pytest.mark.parametrize(("name", "values"), all_points())
def test_it_predicts_and_trains_at_every_end_of_the_space(
    name: str, values: Mapping[str, Any]
) -> None:
    """Logits and embedding have their shapes, also of longer input; every gradient is finite."""
    network, shape = build(name, values).eval(), shape_for(name)
    x = batch(shape)
    embedding = network.embed(x)
    assert network(x).shape == (4, N_CLASSES)
    assert embedding.ndim == 2
    assert len(embedding) == 4
    torch.testing.assert_close(network(x), network.head(embedding))
    if shape[2] > 1:  # there is a time axis
        longer = batch((*shape[:2], 2 * shape[2] + 3), 2)
        assert network(longer).shape == (2, N_CLASSES)

    network.train()(x).square().sum().backward()
    trained = [(n, p.grad) for n, p in network.named_parameters() if p.requires_grad]
    auxiliary = tuple(f"{prefix}." for prefix in getattr(network, "auxiliary", ()))
    without = [n for n, grad in trained if grad is None and not n.startswith(auxiliary)]
    broken = [n for n, grad in trained if grad is not None and not grad.isfinite().all()]
    assert (without, broken) == ([], [])


@pytest.mark.parametrize(("name", "point"), defaults())
def test_the_same_seed_gives_the_same_output(name: str, point: Mapping[str, Any]) -> None:
    first, second = (build(name, own(point), seed=7).eval() for _ in range(2))
    other = build(name, own(point), seed=8).eval()
    x = batch(shape_for(name))
    assert torch.equal(first(x), second(x))
    assert not torch.equal(first(x), other(x))


@pytest.mark.parametrize("n_frames", [1, 5, 20])
@pytest.mark.parametrize("name", [name for name in NAMES if shape_for(name)[2] > 1])
def test_shorter_input_works_or_is_refused(name: str, n_frames: int) -> None:
    file = plugin(name)
    shape = (*shape_for(name)[:2], n_frames)
    try:
        network = file.build(file.Config(), shape, N_CLASSES).eval()
    except UserError as error:
        assert "train.crop_s" in str(error)  # noqa: PT017 - either is right
    else:
        assert network(batch(shape, 2)).isfinite().all()


@pytest.mark.parametrize(
    ("name", "shape"),
    [(n, shape) for n in NAMES for layout in plugin(n).LAYOUTS for shape in SHAPES[layout]],
)
def test_it_accepts_each_of_its_layouts(name: str, shape: InputShape) -> None:
    file = plugin(name)
    network = file.build(file.Config(), shape, N_CLASSES).eval()
    assert network(batch(shape)).shape == (4, N_CLASSES)


@pytest.mark.parametrize("n_channels", [1, 3, 4])
@pytest.mark.parametrize("name", [name for name in NAMES if "picture" in plugin(name).LAYOUTS])
def test_pictures_may_have_colours(name: str, n_channels: int) -> None:
    file = plugin(name)
    shape = (n_channels, *SHAPES["picture"][0][1:])
    network = file.build(file.Config(), shape, N_CLASSES).eval()
    assert network(batch(shape)).shape == (4, N_CLASSES)


@pytest.mark.parametrize(("name", "point"), defaults())
def test_rows_of_a_batch_do_not_affect_one_another(name: str, point: Mapping[str, Any]) -> None:
    network = build(name, own(point)).eval()
    x = batch(shape_for(name))
    torch.testing.assert_close(network(x)[:1], network(x[:1]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "point"), defaults())
def test_a_saved_network_predicts_the_same_after_loading(
    name: str, point: Mapping[str, Any], tmp_path: Path
) -> None:
    shape = shape_for(name)
    module = GenreClassifier(
        architecture=name,
        config=read_config(plugin(name).Config, own(point), where=name),
        train_config=TrainConfig(),
        input_shape=shape,
        n_classes=N_CLASSES,
        statistics=(torch.full((shape[1],), 3.0), torch.full((shape[1],), 2.0)),
    ).eval()
    checkpoint.save_checkpoint(tmp_path, module, {"labels": list("abcde")})
    loaded, _ = checkpoint.load_checkpoint(tmp_path)
    assert torch.equal(loaded(batch(shape)), module(batch(shape)))


@pytest.mark.parametrize(("name", "point"), defaults())
def test_it_can_overfit_one_batch(name: str, point: Mapping[str, Any]) -> None:
    values = own(point)
    without_dropout = {key: 0.0 for key in values if key.endswith("dropout")}
    network = build(name, {**values, **without_dropout}).train()
    x, labels = batch(shape_for(name), 16), torch.arange(16) % N_CLASSES
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, 3e-3)
    for _ in range(120):
        logits = network(x)
        if bool((logits.argmax(1) == labels).all()):
            return
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    pytest.fail(f"{(logits.argmax(1) == labels).float().mean():.0%} after 120 steps")
