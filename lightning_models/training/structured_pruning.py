"""Structured pruning: extracts a narrower network of the same architecture from a trained one.

It removes whole filters and units, those with the smallest weights first, so that the result is an
ordinary network without sparse arithmetic; `search.champion.compress` fine-tunes it.

Source: Li, Kadav, Durdanovic, Samet and Graf 2017, "Pruning Filters for Efficient ConvNets",
arXiv:1608.08710 (filters by the sum of their absolute weights).
"""

from typing import Any

import torch
from torch import Tensor

from chorale.datasets.errors import UserError
from chorale.lightning_models.base import architecture_names, load_architecture
from chorale.lightning_models.training.classifier import Classifier


def is_prunable(architecture: str) -> bool:
    """Whether an architecture declares the chain of its layers, which pruning needs."""
    plugin = load_architecture(architecture)
    return hasattr(plugin, "chain") and hasattr(plugin, "narrowed")


def pruned_config(architecture: str, config: Any, share: float) -> Any:
    """The config of a network with about `share` (0 to 1) of the filters and units of `config`'s.

    Raises:
        UserError: the architecture cannot be pruned.
    """
    return _prunable(architecture).narrowed(config, share)


def prune_network(wide: Classifier, config: Any) -> dict[str, Tensor]:
    """The weights of a network of `config`, extracted from `wide`, by their names.

    Each layer keeps as many outputs as the narrow one has: those with the largest L1 norm of their
    weights, in their original order. A layer of unchanged width keeps all outputs.

    Raises:
        UserError: the architecture cannot be pruned, or `config` is not narrower than `wide`.
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
                f"be extracted from one of {tuple(old.layer.weight.shape)}; give a narrower config"
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
    """The columns of a layer (n_out, n_in, ...) that read the kept outputs of the layer before it.

    Its inputs are those outputs, each with an equal number of positions, repeated `repeats` times.
    """
    n_out, n_in = weight.shape[:2]
    n_places = n_in // (repeats * n_before)
    split = weight.reshape(n_out, repeats, n_before, n_places, *weight.shape[2:])
    return split[:, :, kept].reshape(n_out, -1, *weight.shape[2:])


def _strongest(weight: Tensor, n: int) -> Tensor:
    """The indices of the `n` outputs with the largest L1 norm, in ascending order."""
    norms = weight.abs().flatten(1).sum(dim=1)
    return norms.argsort(descending=True, stable=True)[:n].sort().values


def _copy_norm(old: Any, new: Any, kept: Tensor) -> None:
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(new, name).copy_(getattr(old, name)[kept])
    new.num_batches_tracked.copy_(old.num_batches_tracked)


def _prunable(architecture: str) -> Any:
    if not is_prunable(architecture):
        able = [name for name in architecture_names() if is_prunable(name)]
        raise UserError(
            f"architecture '{architecture}' cannot be pruned: it does not declare the chain of its "
            f"layers; those that do are {', '.join(able)}"
        )
    return load_architecture(architecture)
