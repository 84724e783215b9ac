"""Structured pruning extracts a narrower network from a trained one, whole channels at a time."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from chorale.datasets import plugins
from chorale.datasets.errors import UserError
from chorale.lightning_models import architectures
from chorale.lightning_models.architectures import mlp
from chorale.lightning_models.train_config import TrainConfig
from chorale.lightning_models.training.module import GenreClassifier
from chorale.lightning_models.training.structured_pruning import (
    is_prunable,
    prune_network,
    pruned_config,
)

NETWORKS = [
    ("cnn", {"pooling": "mean_max", "growth": 1.5}, (1, 24, 40)),
    ("cnn", {"pooling": "flatten", "n_layers": 2}, (1, 24, 40)),
    ("cnn", {"pooling": "mean", "kernel": 5}, (3, 16, 20)),
    ("mlp", {"batch_norm": True, "activation": "silu"}, (1, 30, 1)),
    ("mlp", {"n_layers": 4, "shrink": 1.0, "clip": True}, (1, 30, 1)),
    ("conv1d", {"batch_norm": True}, (1, 57, 1)),
    ("conv1d", {}, (1, 10, 1)),
]


def plugin(name: str) -> Any:
    return plugins.load_plugin(architectures, name, kind="architecture")


def trained(name: str, values: dict[str, Any], shape: tuple[int, int, int]) -> GenreClassifier:
    """An untrained network whose batch norms have non-trivial statistics."""
    torch.manual_seed(0)
    module = GenreClassifier(
        architecture=name,
        config=plugin(name).Config(**values),
        train_config=TrainConfig(),
        input_shape=shape,
        n_classes=4,
    )
    module.train()
    module(torch.randn(16, *shape))
    return module.eval()


def cut(wide: GenreClassifier, config: Any) -> torch.nn.Module:
    network: torch.nn.Module = plugin(wide.architecture).build(config, wide.input_shape, 4)
    network.load_state_dict(prune_network(wide, config))
    return network.eval()


@pytest.mark.parametrize(("name", "values", "shape"), NETWORKS)
def test_pruning_to_the_same_width_keeps_the_output(
    name: str, values: dict[str, Any], shape: tuple[int, int, int]
) -> None:
    wide = trained(name, values, shape)
    config = pruned_config(name, wide.config, 1.0)
    assert config == wide.config
    x = torch.randn(5, *shape)
    assert torch.allclose(cut(wide, config)(x), wide.network(x), atol=1e-6)


@pytest.mark.parametrize(("name", "values", "shape"), NETWORKS)
def test_the_pruned_network_has_the_requested_widths(
    name: str, values: dict[str, Any], shape: tuple[int, int, int]
) -> None:
    wide = trained(name, values, shape)
    config = pruned_config(name, wide.config, 0.5)
    small = cut(wide, config)
    assert config.width == wide.config.width // 2
    n_before, n_after = (sum(p.numel() for p in n.parameters()) for n in (wide.network, small))
    assert n_after < 0.6 * n_before
    assert small(torch.randn(3, *shape)).shape == (3, 4)


@pytest.mark.parametrize(("name", "values", "shape"), NETWORKS)
def test_channels_without_effect_are_pruned_first_without_changing_the_output(
    name: str, values: dict[str, Any], shape: tuple[int, int, int]
) -> None:
    """Half of each layer's outputs are zero; without them the output is the same."""
    wide = trained(name, values, shape)
    config = pruned_config(name, wide.config, 0.5)
    torch.manual_seed(0)
    build = plugin(name).build
    links = plugin(name).chain(wide.network)
    small = plugin(name).chain(build(config, wide.input_shape, 4))
    with torch.no_grad():
        for old, new in list(zip(links, small, strict=True))[:-1]:
            n_off = len(old.layer.weight) - len(new.layer.weight)
            off = torch.randperm(len(old.layer.weight))[:n_off]
            old.layer.weight[off] *= 1e-9
            old.layer.bias[off] = 0
            if old.norm is not None:  # what a norm makes of nothing is its bias
                old.norm.running_mean[off] = 0
                old.norm.running_var[off] = 1
                old.norm.bias[off] = 0
    x = torch.randn(5, *shape)
    assert torch.allclose(cut(wide, config)(x), wide.network(x), atol=1e-5)


def test_the_filters_with_the_largest_norm_are_kept_in_order() -> None:
    wide = trained("mlp", {"n_layers": 1, "width": 8}, (1, 3, 1))
    layer = plugin("mlp").chain(wide.network)[0].layer
    with torch.no_grad():
        layer.weight[:] = torch.tensor([5.0, 1, 4, 8, 2, 7, 3, 6])[:, None] * torch.sign(
            layer.weight
        )
    config = replace(wide.config, width=8)
    assert torch.equal(prune_network(wide, config)["body.0.weight"], layer.weight)
    wider = mlp.Config(n_layers=1, width=16)
    with pytest.raises(UserError, match="narrower"):
        prune_network(wide, wider)


def test_an_architecture_that_cannot_be_pruned_gives_a_one_line_error() -> None:
    assert not is_prunable("recurrent")
    with pytest.raises(UserError, match=r"cannot be pruned.*cnn.*mlp") as caught:
        pruned_config("recurrent", object(), 0.5)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", plugins.plugin_names(architectures))
def test_an_architecture_has_both_chain_and_narrowed_or_neither(name: str) -> None:
    assert hasattr(plugin(name), "chain") == hasattr(plugin(name), "narrowed")
