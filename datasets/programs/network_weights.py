"""The tensors of a published network, read without unpickling anything else, and checked."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chorale.datasets.programs.exported_program import ProgramError

if TYPE_CHECKING:
    from torch import Tensor


def read_weights(file: Path, *, under: str = "") -> dict[str, Any]:
    """The tensors of a file by name: safetensors, or a PyTorch file, read with `weights_only`.

    `under` is the key of the tensors in a checkpoint that holds more than them.

    Raises:
        ProgramError: it is damaged, or holds something else.
    """
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(file))
        import torch

        found = torch.load(file, map_location="cpu", weights_only=True)
        return dict(found[under] if under else found)
    except Exception as error:  # both readers raise many kinds of exceptions for damaged files
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ProgramError(f"has no readable weights ({first:.200})") from error


def used_weights(
    found: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], *, network: str
) -> "dict[str, Tensor]":
    """The tensors that `shapes` names, which are all that a network uses.

    Raises:
        ProgramError: one is missing or has another shape, so it is no `network`.
    """
    for name, shape in shapes.items():
        got = tuple(found[name].shape) if name in found else "nothing"
        if got != shape:
            raise ProgramError(f"is no {network}: '{name}' should be {shape}, but is {got}")
    return {name: found[name] for name in shapes}
