"""Writes a bundle of a single network.

`latency` times candidates so, and a student is what the whole command ends with.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from chorale.datasets.atomic import write_text
from chorale.search.bundle.bundle import Bundle, Network
from chorale.search.bundle.disagreement import entropy, usual_limit
from chorale.search.bundle.encoder_copy import with_encoder
from chorale.search.bundle.writing import copy_file, write_bundle, write_manifest
from chorale.search.combining import fitted_file
from chorale.search.combining.base import Model
from chorale.search.paths import BundlePaths
from chorale.search.statistics.arrays import Groups, Labels, Proba
from chorale.search.statistics.calibration import calibrate, honest_temperature
from chorale.search.statistics.conformal import fit_conformal
from chorale.search.statistics.group_cuts import cut

KIND = "best_single"


@dataclass(frozen=True)
class Sureness:
    """How sure a network may be: see `search.bundle.bundle.Manifest`."""

    temperature: float
    coverage: float
    least_proba: float
    most_entropy: float | None


PLAIN = Sureness(temperature=1.0, coverage=0.9, least_proba=0.0, most_entropy=None)
"""Of a network of which nothing is known."""


def sureness(
    out_of_fold: Proba, labels: Labels, groups: Groups, *, coverage: float, seed: int
) -> Sureness:
    """Learns it from rows that the networks asked had not been trained on.

    Args:
        out_of_fold: (n, n_classes).
        labels: (n,) class indices.
        groups: (n,) what hangs together.
        coverage: how often a set shall hold the true class.
        seed: of the cuts by which the temperature is judged.
    """
    at, after = honest_temperature(out_of_fold, labels, cut(labels, groups, seed=seed))
    sets = fit_conformal(after, labels, groups, coverage=coverage)
    limit = usual_limit(entropy(calibrate(out_of_fold, at)))
    return Sureness(at, coverage, sets.least_proba, limit)


@dataclass(frozen=True)
class One:
    """A network for a bundle: its name, its checkpoint's folder, how sure it may be.

    `study` is the one that trained it, `about` what a person should know, `text` its model card.
    """

    name: str
    weights: Path
    sure: Sureness
    study: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""


def write_one(to: Path, one: One, *, copy_encoder: bool = True) -> Bundle:
    """Writes the bundle; one that is there is replaced.

    Args:
        to: where.
        one: the network.
        copy_encoder: whether a frozen encoder that it hears through comes along, or is used where
            it lies: for a bundle that is gone again in a moment.

    Raises:
        UserError: something else is there, or an encoder cannot be read.
    """

    def fill(paths: BundlePaths) -> None:
        folder = paths.networks / one.name
        for path in sorted(one.weights.iterdir()):
            if not path.name.startswith("."):
                copy_file(path, folder / path.name)
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        name, config = card["features"], dict(card["features_config"])
        if copy_encoder:
            config = with_encoder(name, config, paths)
        fitted_file.write_model(paths.ensemble, Model(np.ones(1)), kind=KIND, members=(one.name,))
        if one.text:
            write_text(paths.card, one.text)
        network = Network(folder.relative_to(paths.root).as_posix(), 0, 0, name)
        manifest = {
            "study": one.study,
            "labels": card["labels"],
            "kind": KIND,
            "members": [one.name],
            "architectures": [card["architecture"]],
            "networks": [asdict(network)],
            "features": {name: config},
            **asdict(one.sure),
            "most_disagreement": 0.0,
            "about": dict(one.about),
        }
        write_manifest(paths, manifest)

    return write_bundle(to, fill)
