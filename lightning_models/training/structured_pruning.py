"""Structured pruning: cuts a narrower network of the same architecture out of a trained one.

Whole filters and units go, those with the smallest weights first, so that what is left is an
ordinary network that needs no sparse arithmetic; `search.champion.compress` trains it on.

Source: Li, Kadav, Durdanovic, Samet and Graf 2017, "Pruning Filters for Efficient ConvNets",
arXiv:1608.08710 (filters by the sum of their absolute weights).
"""

from typing import Any

import torch
from torch import Tensor

from chorale.datasets.errors import UserError
from chorale.lightning_models.base import architecture_names, load_architecture
from chorale.lightning_models.training.classifier import Classifier


def can_be_narrowed(architecture: str) -> bool:
    """Whether that architecture says how its layers follow one another."""
    plugin = load_architecture(architecture)
    return hasattr(plugin, "chain") and hasattr(plugin, "narrowed")


def narrowed(architecture: str, config: Any, share: float) -> Any:
    """The config of a network with about `share` (0 to 1) of the filters and units of `config`'s.

    Raises:
        UserError: the architecture cannot be narrowed.
    """
    return _prunable(architecture).narrowed(config, share)


def narrow(wide: Classifier, config: Any) -> dict[str, Tensor]:
    """The weights of a network of `config`, cut out of `wide`; by their names in it.

    Each layer keeps as many outputs as the narrow one has: those whose weights have the largest
    sum of absolute values, in the order in which they stood. Where it has as many as before, all
    stay as they are.

    Raises:
        UserError: the architecture cannot be narrowed, or `config` is not narrower than `wide`.
    """
    plugin = _prunable(wide.architecture)
    with torch.random.fork_rng(devices=[]):
        small = plugin.build(config, wide.input_shape, wide.n_classes)
    before, after = plugin.chain(wide.network), plugin.chain(small)
    kept: Tensor | None = None
    n_before = 0
    for old, new in zip(before, after, strict=True):
        weight = old.layer.weight.detach()
        if kept is not None:
            weight = _inputs(weight, kept, n_before, repeats=old.repeats)
        n_before, n_left = len(weight), len(new.layer.weight)
        if n_left > n_before or weight.shape[1:] != new.layer.weight.shape[1:]:
            raise UserError(
                f"{wide.architecture}: a layer of {tuple(new.layer.weight.shape)} weights cannot "
                f"be cut out of one of {tuple(old.layer.weight.shape)}; give a narrower config"
            )
        kept = _strongest(weight, n_left)
        with torch.no_grad():
            new.layer.weight.copy_(weight[kept])
            if new.layer.bias is not None:
                new.layer.bias.copy_(old.layer.bias[kept])
            if new.norm is not None:
                _copy_norm(old.norm, new.norm, kept)
    return dict(small.state_dict())


def _inputs(weight: Tensor, kept: Tensor, n_before: int, *, repeats: int) -> Tensor:
    """The columns of a layer (n_out, n_in, ...) that look at the outputs kept of the one before it.

    Its inputs are those outputs, each with as many places, the whole `repeats` times over.
    """
    n_out, n_in = weight.shape[:2]
    n_places = n_in // (repeats * n_before)
    split = weight.reshape(n_out, repeats, n_before, n_places, *weight.shape[2:])
    return split[:, :, kept].reshape(n_out, -1, *weight.shape[2:])


def _strongest(weight: Tensor, n: int) -> Tensor:
    """The `n` outputs with the largest sum of absolute weights, in their order."""
    norms = weight.abs().flatten(1).sum(dim=1)
    return norms.argsort(descending=True, stable=True)[:n].sort().values


def _copy_norm(old: Any, new: Any, kept: Tensor) -> None:
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(new, name).copy_(getattr(old, name)[kept])
    new.num_batches_tracked.copy_(old.num_batches_tracked)


def _prunable(architecture: str) -> Any:
    if not can_be_narrowed(architecture):
        able = [name for name in architecture_names() if can_be_narrowed(name)]
        raise UserError(
            f"architecture '{architecture}' cannot be narrowed: it does not say how its layers "
            f"follow one another; those that do are {', '.join(able)}"
        )
    return load_architecture(architecture)
