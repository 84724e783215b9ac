"""Loads pretrained weights from a local file, without running pickled code.

Architectures that can start from pretrained weights use it when they are built; nothing is ever
downloaded, because a trial must not depend on internet access.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING

from chorale.datasets.errors import UserError, join_first

if TYPE_CHECKING:
    from torch import Tensor, nn

NO_WEIGHTS = "none"
"""The value of the config field `weights` for random weights."""


def load_pretrained_tensors(
    weights: str, known: Mapping[str, tuple[str, str]]
) -> "dict[str, Tensor]":
    """The tensors of a file, by name.

    Args:
        weights: a name of `known`, or the path of a `.safetensors` file or of a state dict that
            `torch.save` wrote; of the latter only tensors are read.
        known: a name -> its file in torch's cache, and the command that downloads it there.

    Raises:
        UserError: there is no such file, or it holds no tensors.
    """
    fix = f"give weights the path of another file, or '{NO_WEIGHTS}' to train from scratch"
    path = Path(weights).expanduser()
    if weights in known:
        name, fetch = known[weights]
        path = _hub() / "checkpoints" / name
        fix = f"type on a machine with internet access: {fetch}; copy the file here; or {fix}"
    if not path.is_file():
        raise UserError(f"weights='{weights}': there is no file '{path.absolute()}'; {fix}")
    import safetensors.torch  # here, so that a wrong path fails without importing PyTorch
    import torch

    try:
        if path.suffix == ".safetensors":
            return dict(safetensors.torch.load_file(path))
        read = torch.load(path, map_location="cpu", weights_only=True)
    except (
        safetensors.SafetensorError,
        UnpicklingError,
        RuntimeError,
        ValueError,
        KeyError,
        EOFError,
        OSError,
    ) as error:
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"weights='{weights}': '{path}' cannot be read ({why}); {fix}") from None
    if not isinstance(read, Mapping) or not all(isinstance(v, torch.Tensor) for v in read.values()):
        raise UserError(f"weights='{weights}': '{path}' holds no state dict; {fix}")
    return dict(read)


def load_pretrained_weights(
    network: "nn.Module", given: "Mapping[str, Tensor]", *, first: str, source: str
) -> None:
    """Loads a state dict into a network.

    Args:
        network: gets the weights.
        given: a tensor for each name of the network's state dict, and no other; the counters of
            batch norms, which old files lack, may be missing.
        first: name of the first convolution's weights, which are adapted to its channels.
        source: the config's `weights`, for messages.

    Raises:
        UserError: names or shapes are of another network.
    """
    wanted = network.state_dict()
    fitting = dict(given)
    if first in fitting and fitting[first].ndim == 4:
        fitting[first] = to_channels(fitting[first], wanted[first].shape[1])
    problems = [
        f"{name} is {_shape(fitting.get(name))} there and {_shape(wanted.get(name))} here"
        for name in sorted(wanted.keys() | fitting.keys())
        if _shape(wanted.get(name)) != _shape(fitting.get(name))
        and not (name.endswith(".num_batches_tracked") and name not in fitting)
    ]
    if problems:
        raise UserError(
            f"weights='{source}' are of another network: {join_first(problems, between='; ')}; "
            f"give weights that fit, or '{NO_WEIGHTS}' to train from scratch"
        )
    network.load_state_dict(fitting, strict=False)


def to_channels(weight: "Tensor", n_channels: int) -> "Tensor":
    """Adapts the weights of a first convolution to another number of channels.

    An input whose channels are all equal gives the same output as before. Three colours stay as
    they are where an alpha channel, weighted by their mean, is added.

    Args:
        weight: (n_filters, its channels, height, width).
        n_channels: the number of channels of the result.
    """
    n_given = weight.shape[1]
    if n_channels == n_given:
        return weight
    mean = weight.mean(dim=1, keepdim=True)
    if (n_given, n_channels) == (3, 4):
        import torch

        return torch.cat([weight, mean], dim=1)
    return mean.repeat(1, n_channels, 1, 1) * (n_given / n_channels)


def _hub() -> Path:
    """The folder of `torch.hub`, without importing torch."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("TORCH_HOME") or f"{cache}/torch").expanduser() / "hub"


def _shape(value: "Tensor | None") -> str:
    return "missing" if value is None else str(tuple(value.shape))
