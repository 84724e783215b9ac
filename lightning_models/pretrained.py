"""Pretrained weights from a file of this machine: found, read without pickle's code, fitted.

Architectures that can start from weights of others use it when they are built; nothing is ever
downloaded, because a trial must not depend on the network.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING

from chorale.datasets.errors import UserError, shown

if TYPE_CHECKING:
    from torch import Tensor, nn

NO_WEIGHTS = "none"
"""What the field `weights` of an architecture's config says for random weights."""


def tensors(weights: str, known: Mapping[str, tuple[str, str]]) -> "dict[str, Tensor]":
    """The tensors of a file, by name.

    Args:
        weights: a name of `known`, or the path of a `.safetensors` file or of a state dict that
            `torch.save` wrote; of the latter only tensors are read.
        known: a name -> its file in torch's cache, and the command that brings it there.

    Raises:
        UserError: there is no such file, or it holds no tensors.
    """
    mend = f"give weights the path of another file, or '{NO_WEIGHTS}' to train from scratch"
    path = Path(weights).expanduser()
    if weights in known:
        name, fetch = known[weights]
        path = _hub() / "checkpoints" / name
        mend = f"type on a machine with internet access: {fetch}; copy the file here; or {mend}"
    if not path.is_file():
        raise UserError(f"weights='{weights}': there is no file '{path.absolute()}'; {mend}")
    import safetensors.torch  # not before: a mistyped path does not wait for PyTorch
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
        raise UserError(f"weights='{weights}': '{path}' cannot be read ({why}); {mend}") from None
    if not isinstance(read, Mapping) or not all(isinstance(v, torch.Tensor) for v in read.values()):
        raise UserError(f"weights='{weights}': '{path}' holds no state dict; {mend}")
    return dict(read)


def load_into(
    network: "nn.Module", given: "Mapping[str, Tensor]", *, first: str, said: str
) -> None:
    """Puts `given` into `network`.

    Args:
        network: takes the values, whatever it held.
        given: a value for each name of the network's state dict, and no other; the counters of
            batch norms, which old files lack, may be missing.
        first: name of the first convolution's weights, which are fitted to its channels.
        said: what the user typed for the weights.

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
            f"weights='{said}' are of another network: {shown(problems, between='; ')}; "
            f"give weights that fit, or '{NO_WEIGHTS}' to train from scratch"
        )
    network.load_state_dict(fitting, strict=False)


def to_channels(weight: "Tensor", n_channels: int) -> "Tensor":
    """The weights of a first convolution for as many channels as there are.

    A picture whose channels are all the same gives the same as it did; an alpha channel joins
    three colours as their mean, so that colours mean what they did.

    Args:
        weight: (n_filters, its channels, height, width).
        n_channels: how many are wanted.
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
    """Where `torch.hub` keeps files; it would have to be imported to be asked."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("TORCH_HOME") or f"{cache}/torch").expanduser() / "hub"


def _shape(value: "Tensor | None") -> str:
    return "missing" if value is None else str(tuple(value.shape))
