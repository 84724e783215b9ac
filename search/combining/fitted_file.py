"""Fitted ensembles on disk: JSON for what people read, safetensors for arrays. No pickle."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from chorale.datasets.atomic import atomic
from chorale.datasets.errors import UserError
from chorale.search.combining.base import Model, Name

CARD = "chorale"
"""The one entry of the metadata."""


def write_model(path: Path, model: Model, *, kind: str, members: tuple[Name, ...]) -> None:
    """Writes all that `predict` needs; `members` are named in the model's order.

    The same model gives the same bytes: of several entries of metadata the order would be random.
    """
    tensors = {f"array.{name}": np.ascontiguousarray(a) for name, a in model.arrays.items()}
    tensors["weights"] = np.ascontiguousarray(model.weights)
    said = {"kind": kind, "members": list(members), "facts": dict(model.facts)}
    card = {CARD: json.dumps(said, allow_nan=False)}
    data = safetensors.numpy.save(tensors, metadata=card)  # its own writing hides a full disk
    with atomic(path) as temporary:
        temporary.write_bytes(data)


def read_model(path: Path) -> tuple[str, tuple[Name, ...], Model]:
    """The kind, the members and the model that `write_model` wrote.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            card = json.loads((file.metadata() or {})[CARD])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        facts: dict[str, Any] = card["facts"]
        members = tuple(one if isinstance(one, str) else int(one) for one in card["members"])
        arrays = {k.removeprefix("array."): v for k, v in tensors.items() if k != "weights"}
        return str(card["kind"]), members, Model(tensors["weights"], arrays, facts)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; make it again with: chorale ensemble STUDY") from None
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is damaged ({error}); make it again with: chorale ensemble STUDY"
        ) from None
