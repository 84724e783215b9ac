"""Writes the bundle of a single network, for `search.champion.compress`: the distilled student."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from chorale.datasets.atomic import write_text
from chorale.datasets.base import EncoderInfo
from chorale.lightning_models.multi_label_metrics import DEFAULT_THRESHOLD
from chorale.search.bundle.bundle import Bundle, BundledNetwork
from chorale.search.bundle.disagreement import (
    IN_DISTRIBUTION_SHARE,
    ood_threshold,
    predictive_entropy,
)
from chorale.search.bundle.encoder_copy import (
    fine_tuned_encoders,
    licence_lines,
    with_bundled_encoder,
)
from chorale.search.bundle.writing import copy_file, write_bundle, write_manifest
from chorale.search.combining import fitted_file
from chorale.search.combining.base import EnsembleModel
from chorale.search.paths import BundlePaths
from chorale.search.statistics.arrays import Groups, Labels, Proba
from chorale.search.statistics.calibration import calibrate, validated_temperature
from chorale.search.statistics.confidence import fit_confidence_reference
from chorale.search.statistics.confidence_reference import ConfidenceReference
from chorale.search.statistics.conformal import fit_conformal
from chorale.search.statistics.inner_folds import inner_folds
from chorale.search.statistics.thresholds import fit_thresholds

_KIND = "best_single"  # the ensemble of one member


@dataclass(frozen=True)
class Calibration:
    """Temperature scaling, conformal sets, out-of-distribution limit: see `BundleManifest`.

    `thresholds` are those of each label, in the order of the network's labels, where a track may
    have several; empty: `DEFAULT_THRESHOLD` for all. `confidence` is as in `BundleManifest`.
    """

    temperature: float
    coverage: float
    least_proba: float
    most_entropy: float | None
    thresholds: tuple[float, ...] = ()
    confidence: ConfidenceReference | None = None


def fit_calibration(
    out_of_fold: Proba, labels: Labels, groups: Groups, *, coverage: float, seed: int
) -> Calibration:
    """Fits temperature, conformal threshold and entropy limit on out-of-fold rows.

    Args:
        out_of_fold: (n, n_classes) probabilities, each row by a network not trained on it.
        labels: (n,) class indices, or (n, n_classes) of 0 and 1, for which thresholds are fitted,
            too.
        groups: (n,) groups, which are not split.
        coverage: the probability with which a conformal set shall contain the true class.
        seed: of the cross-validation by which the temperature is checked.
    """
    folds = inner_folds(labels, groups, seed=seed)
    temperature, after = validated_temperature(out_of_fold, labels, folds)
    sets = fit_conformal(after, labels, groups, coverage=coverage)
    multi_label = labels.ndim == 2
    proba = calibrate(out_of_fold, temperature, multi_label=multi_label)
    limit = ood_threshold(predictive_entropy(proba, multi_label=multi_label))
    thresholds = tuple(fit_thresholds(after, labels).tolist()) if multi_label else ()
    flagged = 1 - IN_DISTRIBUTION_SHARE
    reference = (
        None if multi_label else fit_confidence_reference(after, labels, groups, flagged=flagged)
    )
    return Calibration(temperature, coverage, sets.least_proba, limit, thresholds, reference)


@dataclass(frozen=True)
class SingleNetwork:
    """A network for a bundle: its name, its checkpoint's folder, its calibration.

    `study` is the one that trained it, `about` the manifest's facts for people, `model_card` the
    text of the card.
    """

    name: str
    weights: Path
    calibration: Calibration
    study: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)
    model_card: str = ""


def write_single_network_bundle(to: Path, network: SingleNetwork) -> Bundle:
    """Writes the bundle to the folder `to`; an existing bundle is replaced.

    Args:
        to: the bundle's folder.
        network: what it holds.

    Raises:
        UserError: `to` holds something else, or an encoder cannot be read.
    """

    def fill(paths: BundlePaths) -> None:
        folder = paths.networks / network.name
        for path in sorted(network.weights.iterdir()):
            if not path.name.startswith("."):
                copy_file(path, folder / path.name)
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        name, encoders = card["features"], dict[str, EncoderInfo]()
        config = with_bundled_encoder(name, card["features_config"], paths, used=encoders)
        fitted_file.write_ensemble(
            paths.ensemble, EnsembleModel(np.ones(1)), kind=_KIND, members=(network.name,)
        )
        tuned = fine_tuned_encoders({name: config})
        if network.model_card:
            lines = [
                network.model_card.rstrip("\n"),
                "",
                *licence_lines(encoders.values(), fine_tuned=tuned),
            ]
            write_text(paths.card, "\n".join(lines))
        entry = BundledNetwork(folder.relative_to(paths.root).as_posix(), 0, 0, name)
        manifest = {
            "study": network.study,
            "labels": card["labels"],
            "kind": _KIND,
            "members": [network.name],
            "architectures": [card["architecture"]],
            "networks": [asdict(entry)],
            "features": {name: config},
            **_calibration(network.calibration, card),
            "most_disagreement": 0.0,
            "about": dict(network.about),
        }
        write_manifest(paths, manifest)

    return write_bundle(to, fill)


def _calibration(calibration: Calibration, card: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest's fields of a calibration, and the task of the network with this card."""
    fields = asdict(calibration)
    thresholds, labels = fields.pop("thresholds"), card["labels"]
    if not card.get("multi_label"):
        return fields
    each = thresholds or [DEFAULT_THRESHOLD] * len(labels)
    return {
        **fields,
        "task": "multi_label",
        "thresholds": dict(zip(labels, each, strict=True)),
    }
