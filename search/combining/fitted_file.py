"""Fitted ensembles on disk, as one safetensors file: arrays, and JSON metadata. No pickle."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from chorale.datasets.atomic import atomic_write
from chorale.datasets.errors import UserError
from chorale.search.combining.base import EnsembleModel, MemberName

METADATA_KEY = "chorale"
"""The only key of the file's metadata; its value is JSON."""


def write_ensemble(
    path: Path, model: EnsembleModel, *, kind: str, members: tuple[MemberName, ...]
) -> None:
    """Writes all that `predict` needs; `members` are named in the model's order.

    The same model gives the same bytes: with several metadata keys their order would be random.
    """
    tensors = {f"array.{name}": np.ascontiguousarray(a) for name, a in model.arrays.items()}
    tensors["weights"] = np.ascontiguousarray(model.weights)
    card = {"kind": kind, "members": list(members), "facts": dict(model.facts)}
    metadata = {METADATA_KEY: json.dumps(card, allow_nan=False)}
    data = safetensors.numpy.save(tensors, metadata=metadata)  # `save_file` hides a full disk
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def read_ensemble(path: Path) -> tuple[str, tuple[MemberName, ...], EnsembleModel]:
    """Reads the kind, the members and the model that `write_ensemble` wrote.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            card = json.loads((file.metadata() or {})[METADATA_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        facts: dict[str, Any] = card["facts"]
        members = tuple(one if isinstance(one, str) else int(one) for one in card["members"])
        arrays = {k.removeprefix("array."): v for k, v in tensors.items() if k != "weights"}
        return str(card["kind"]), members, EnsembleModel(tensors["weights"], arrays, facts)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; make it again with: chorale ensemble STUDY") from None
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is damaged ({error}); make it again with: chorale ensemble STUDY"
        ) from None
