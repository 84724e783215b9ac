"""The contract suite of architectures: every file in `lightning_models/architectures` runs it."""

import random
from collections.abc import Iterator, Mapping, Sequence, Set
from functools import cache
from itertools import combinations, product
from pathlib import Path
from types import MappingProxyType, ModuleType
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
from chorale.lightning_models.train_config import (
    EMBEDDING_SPACE,
    REQUIRED_PARAMETER,
    TRAIN_SPACE,
    TrainConfig,
)
from chorale.lightning_models.training import checkpoint
from chorale.lightning_models.training.module import GenreClassifier

N_CLASSES = 5
SHAPES: Mapping[Layout, Sequence[InputShape]] = {
    "spectrogram": [(1, 24, 32), (1, 20, 32), (1, 65, 32)],
    "picture": [(1, 32, 48)],
    "embedding": [(1, 24, 30)],
    "table": [(1, 57, 1), (1, 518, 1), (1, 12, 1)],
    "block_input": [(1, 689, 30)],  # of musicnn before its last convolution
}
"""Layout -> input shapes of it, (n_channels, n_bins, n_frames)."""
OF_FEATURES: Mapping[str, Mapping[str, Any]] = {
    "encoder_blocks": {
        "encoder": "musicnn",
        "layer": "pooled",
        "fine_tune": 1,
        "weights": "none",
    }
}
"""Architecture -> values of its config that features give."""
NAMES = plugins.plugin_names(architectures)


def plugin(name: str) -> ModuleType:
    return plugins.load_plugin(architectures, name, kind="architecture")


def own(point: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in point.items() if not key.startswith("train.")}


def config_of(name: str, values: Mapping[str, Any] = MappingProxyType({})) -> Any:
    """The config with these values, and those that features give."""
    given = {**OF_FEATURES.get(name, {}), **values}
    return read_config(plugin(name).Config, given, where=name)


def of_training(point: Mapping[str, Any]) -> dict[str, Any]:
    return {key[6:]: value for key, value in point.items() if key.startswith("train.")}


def ends(distribution: Distribution) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    return [distribution.low, distribution.high]


def shape_for(name: str) -> InputShape:
    """An input shape of the architecture's preferred layout."""
    return SHAPES[plugin(name).LAYOUTS[0]][0]


def build(name: str, values: Mapping[str, Any]) -> Any:
    torch.manual_seed(0)
    file = plugin(name)
    return file.build(config_of(name, values), shape_for(name), N_CLASSES)


def batch(shape: InputShape, n: int = 4) -> Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(1))


def untrained(name: str, i: int, *, seed: int) -> GenreClassifier:
    """The untrained network of the `i`-th default, with statistics."""
    shape = shape_for(name)
    torch.manual_seed(seed)
    return GenreClassifier(
        architecture=name,
        config=config_of(name, own(plugin(name).DEFAULTS[i])),
        train_config=TrainConfig(),
        input_shape=shape,
        n_classes=N_CLASSES,
        statistics=(torch.full((shape[1],), 3.0), torch.full((shape[1],), 2.0)),
    ).eval()


@cache
def default_module(name: str, i: int) -> GenreClassifier:
    """The one of seed 0, which tests only read."""
    return untrained(name, i, seed=0)


def points() -> Iterator[Any]:
    """Every default; all axes at their lower end at once, and at their upper end; mixtures.

    Every end and every choice of every axis is in one of the points, and every pair of choices.
    """
    for name in NAMES:
        file = plugin(name)
        found = {f"default{i}": own(default) for i, default in enumerate(file.DEFAULTS)}
        axes = {axis: ends(distribution) for axis, distribution in file.SPACE.items()}
        for end, which in (("lower", 0), ("upper", -1)):
            found[end] = {axis: values[which] for axis, values in axes.items()}
        choices = {
            axis for axis, one in file.SPACE.items() if isinstance(one, CategoricalDistribution)
        }
        mixed = list(mixtures(axes, choices, list(found.values())))
        found |= {f"mixture{i}": point for i, point in enumerate(mixed)}
        for which_one, point in found.items():
            yield pytest.param(name, point, id=f"{name}-{which_one}")


def mixtures(
    axes: Mapping[str, Sequence[Any]], choices: Set[str], others: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Random points until each value of each axis, and each pair of two `choices`, was in one.

    What one of the `others` contains needs no further point.
    """
    rng = random.Random(0)
    missing: set[Any] = {frozenset({(axis, v)}) for axis, values in axes.items() for v in values}
    for a, b in combinations(sorted(choices), 2):
        missing |= {frozenset({(a, v), (b, w)}) for v, w in product(axes[a], axes[b])}
    missing -= {one for one in missing if any(one <= set(point.items()) for point in others)}
    while missing:
        drawn = [{axis: rng.choice(values) for axis, values in axes.items()} for _ in range(50)]
        found = [{one for one in missing if one <= set(point.items())} for point in drawn]
        best = max(range(len(drawn)), key=lambda i: len(found[i]))
        missing -= found[best]
        yield drawn[best]


def defaults() -> list[tuple[str, int]]:
    return [(name, i) for name in NAMES for i in range(len(plugin(name).DEFAULTS))]


def other_shapes() -> Iterator[tuple[str, InputShape]]:
    """All shapes of an architecture's layouts but the one that other tests use."""
    for name in NAMES:
        shapes = [shape for layout in plugin(name).LAYOUTS for shape in SHAPES[layout]]
        yield from ((name, shape) for shape in shapes if shape != shape_for(name))


@pytest.mark.parametrize("name", NAMES)
def test_it_declares_its_layouts_and_its_source(name: str) -> None:
    file = plugin(name)
    assert set(file.LAYOUTS) <= SHAPES.keys()
    assert file.LAYOUTS
    assert len(file.DEFAULTS) >= 1
    assert "Source:" in (file.__doc__ or "")


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_inside_the_space(name: str) -> None:
    file = plugin(name)
    both = {**TRAIN_SPACE, **EMBEDDING_SPACE}
    outside = [
        f"{key}={value}"
        for point in file.DEFAULTS
        for space, values in ((file.SPACE, own(point)), (both, of_training(point)))
        for key, value in values.items()
        if not space[key].contains(value)
    ]
    assert outside == []


@pytest.mark.parametrize("name", NAMES)
def test_defaults_leave_out_conditional_parameters_that_do_not_apply(name: str) -> None:
    idle = [
        key
        for values in map(of_training, plugin(name).DEFAULTS)
        for key, (other, needed) in REQUIRED_PARAMETER.items()
        if key in values and values.get(other, getattr(TrainConfig(), other)) not in needed
    ]
    assert idle == []


@pytest.mark.parametrize(("name", "values"), points())
def test_it_predicts_and_trains_at_every_end_of_the_space(
    name: str, values: Mapping[str, Any]
) -> None:
    """Logits and embedding have their shapes, also of longer input; every gradient is finite."""
    network, shape = build(name, values).eval(), shape_for(name)
    x = batch(shape)
    logits, embedding = network(x), network.embed(x)
    assert logits.shape == (4, N_CLASSES)
    assert embedding.ndim == 2
    assert len(embedding) == 4
    torch.testing.assert_close(logits, network.head(embedding))
    if shape[2] > 1:  # there is a time axis
        longer = batch((*shape[:2], 2 * shape[2] + 3), 2)
        assert network(longer).shape == (2, N_CLASSES)

    network.train()(x).square().sum().backward()
    trained = [(n, p.grad) for n, p in network.named_parameters() if p.requires_grad]
    auxiliary = tuple(f"{prefix}." for prefix in getattr(network, "auxiliary", ()))
    without = [n for n, grad in trained if grad is None and not n.startswith(auxiliary)]
    broken = [n for n, grad in trained if grad is not None and not grad.isfinite().all()]
    assert (without, broken) == ([], [])


@pytest.mark.parametrize(("name", "i"), defaults())
def test_the_same_seed_gives_the_same_output(name: str, i: int) -> None:
    x = batch(shape_for(name))
    again, other = (untrained(name, i, seed=seed)(x) for seed in (0, 1))
    assert torch.equal(default_module(name, i)(x), again)
    assert not torch.equal(again, other)


@pytest.mark.parametrize("n_frames", [1, 5, 20])
@pytest.mark.parametrize("name", [name for name in NAMES if shape_for(name)[2] > 1])
def test_shorter_input_works_or_is_refused(name: str, n_frames: int) -> None:
    file = plugin(name)
    shape = (*shape_for(name)[:2], n_frames)
    try:
        network = file.build(config_of(name), shape, N_CLASSES).eval()
    except UserError as error:
        assert "train.crop_s" in str(error)  # noqa: PT017 - either is right
    else:
        assert network(batch(shape, 2)).isfinite().all()


@pytest.mark.parametrize(("name", "shape"), other_shapes())
def test_it_accepts_each_of_its_layouts(name: str, shape: InputShape) -> None:
    file = plugin(name)
    network = file.build(config_of(name), shape, N_CLASSES).eval()
    assert network(batch(shape)).shape == (4, N_CLASSES)


@pytest.mark.parametrize("n_channels", [3, 4])
@pytest.mark.parametrize("name", [name for name in NAMES if "picture" in plugin(name).LAYOUTS])
def test_pictures_may_have_colours(name: str, n_channels: int) -> None:
    file = plugin(name)
    shape = (n_channels, *SHAPES["picture"][0][1:])
    network = file.build(config_of(name), shape, N_CLASSES).eval()
    assert network(batch(shape)).shape == (4, N_CLASSES)


@pytest.mark.parametrize(("name", "i"), defaults())
def test_rows_of_a_batch_do_not_affect_one_another(name: str, i: int) -> None:
    network = default_module(name, i).network
    x = batch(shape_for(name))
    torch.testing.assert_close(network(x)[:1], network(x[:1]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "i"), defaults())
def test_a_saved_network_predicts_the_same_after_loading(name: str, i: int, tmp_path: Path) -> None:
    module, x = default_module(name, i), batch(shape_for(name))
    checkpoint.save_checkpoint(tmp_path, module, {"labels": list("abcde")})
    loaded, _ = checkpoint.load_checkpoint(tmp_path)
    assert torch.equal(loaded(x), module(x))


@pytest.mark.parametrize(("name", "i"), defaults())
def test_it_can_overfit_one_batch(name: str, i: int) -> None:
    """With the default's layers at their smallest width, and without dropout."""
    values = own(plugin(name).DEFAULTS[i])
    for key, distribution in plugin(name).SPACE.items():
        if key.endswith("dropout"):
            values[key] = 0.0
        elif key in ("width", "dense"):
            values[key] = ends(distribution)[0]
    network = build(name, values).train()
    x, labels = batch(shape_for(name), 10), torch.arange(10) % N_CLASSES
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, 1e-2)
    for _ in range(120):
        logits = network(x)
        if bool((logits.argmax(1) == labels).all()):
            return
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    pytest.fail(f"{(logits.argmax(1) == labels).float().mean():.0%} after 120 steps")
