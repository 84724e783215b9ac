"""Checkpoints of trained networks: safetensors weights and a JSON card, no pickle.

`search` saves finalists and bundles with it; inference loads them.
"""

import contextlib
import dataclasses
import hashlib
import json
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from chorale.datasets.atomic import atomic_write, write_json
from chorale.datasets.config import config, read_config, to_plain_values
from chorale.datasets.errors import UserError
from chorale.lightning_models.base import load_architecture
from chorale.lightning_models.pretrained import NO_WEIGHTS
from chorale.lightning_models.train_config import TrainConfig
from chorale.lightning_models.training.classifier import Classifier

CARD_JSON = "card.json"


@config
class _Network:
    """The part of a card from which a network is built."""

    architecture: str
    config: dict[str, Any]
    train: dict[str, Any]
    input_shape: tuple[int, int, int]
    n_classes: int
    labels: tuple[str, ...]
    weights: str
    sha256: str
    multi_label: bool = False


def save_checkpoint(folder: Path, module: Classifier, card: Mapping[str, Any]) -> None:
    """Writes weights and card into `folder` atomically: the old checkpoint stays valid until then.

    The name of the weights' file contains a part of its hash and the card refers to it, so that
    renaming the card switches from the old checkpoint to the new one.

    Args:
        folder: created if missing.
        module: gives weights, architecture, configs and shape.
        card: JSON-ready facts that the module does not hold: `labels`, the class names in the order
            of its outputs, and others (the feature set's name and config).

    Raises:
        UserError: there are more or fewer labels than outputs.
    """
    labels = list(card["labels"])
    if len(labels) != module.n_classes:
        raise UserError(
            f"a network with {module.n_classes} outputs cannot have {len(labels)} labels: "
            f"{', '.join(labels)}; give the labels that it was trained with"
        )
    weights = {name: value.cpu().contiguous() for name, value in module.state_dict().items()}
    data = safetensors.torch.save(weights)
    digest = hashlib.sha256(data).hexdigest()
    name = f"weights-{digest[:12]}.safetensors"
    network = {
        "architecture": module.architecture,
        "config": to_plain_values(module.config),
        "train": to_plain_values(module.train_config),
        "input_shape": list(module.input_shape),
        "n_classes": module.n_classes,
        "multi_label": module.multi_label,
        "labels": labels,
        "weights": name,
        "sha256": digest,
    }
    with atomic_write(folder / name) as temporary:
        temporary.write_bytes(data)
    write_json(folder / CARD_JSON, {**card, **network, "versions": _versions()})
    for other in folder.glob("weights-*.safetensors"):
        if other.name != name:
            other.unlink()


def load_checkpoint(folder: Path) -> tuple[Classifier, dict[str, Any]]:
    """Loads a checkpoint onto the CPU, ready to predict, with its card.

    Raises:
        UserError: there is none, it is damaged, or its parts do not match.
    """
    card = _read_card(folder)
    where = f"checkpoint '{folder / CARD_JSON}'"
    names = [field.name for field in dataclasses.fields(_Network)]
    known = read_config(_Network, {n: card[n] for n in names if n in card}, where=where)
    if known.n_classes != len(known.labels):
        raise _damaged(
            folder,
            f"{CARD_JSON} says n_classes={known.n_classes}, but has {len(known.labels)} labels",
        )
    weights = _read_weights(folder, known.weights, known.sha256)
    plugin = load_architecture(known.architecture)
    config = read_config(plugin.Config, known.config, where=f"{where}: config")
    with torch.random.fork_rng(devices=[]):
        module = Classifier(
            architecture=known.architecture,
            config=_without_files(config),
            train_config=read_config(TrainConfig, known.train, where=f"{where}: train"),
            input_shape=known.input_shape,
            n_classes=known.n_classes,
            multi_label=known.multi_label,
        )
    wanted = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise _damaged(
                folder,
                f"{CARD_JSON} needs {name} of shape {wanted.get(name)}, but {known.weights} has "
                f"{found.get(name)}",
            )
    module.load_state_dict(weights)
    module.config = config
    return module.eval(), card


def _without_files(config: Any) -> Any:
    """The config without pretrained weights, which the checkpoint's weights would replace."""
    if not hasattr(config, "weights"):
        return config
    return dataclasses.replace(config, weights=NO_WEIGHTS)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("chorale-audio", "torch", "pytorch-lightning"):
        with contextlib.suppress(PackageNotFoundError):  # a checkout needs no installation
            found[name] = version(name)
    return found


def _read_card(folder: Path) -> dict[str, Any]:
    try:
        card = json.loads((folder / CARD_JSON).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"there is no checkpoint in '{folder}': it has no {CARD_JSON}; give the folder of a "
            f"checkpoint"
        ) from None
    except ValueError as error:
        raise _damaged(folder, f"{CARD_JSON} is not JSON ({error})") from None
    if not isinstance(card, dict):
        raise _damaged(folder, f"{CARD_JSON} is not a mapping")
    return card


def _read_weights(folder: Path, name: str, digest: str) -> dict[str, Tensor]:
    if Path(name).name != name:
        raise _damaged(folder, f"{CARD_JSON} names weights outside its folder, '{name}'")
    try:
        data = (folder / name).read_bytes()
    except OSError:
        raise _damaged(folder, f"'{name}' is missing") from None
    if hashlib.sha256(data).hexdigest() != digest:
        raise _damaged(folder, f"{name} is not the file that {CARD_JSON} was written for")
    try:
        return dict(safetensors.torch.load(data))
    except safetensors.SafetensorError as error:
        raise _damaged(folder, f"{name} is not a safetensors file ({error})") from None


def _damaged(folder: Path, why: str) -> UserError:
    return UserError(
        f"the checkpoint in '{folder}' cannot be used: {why}; copy it again or train it again"
    )
