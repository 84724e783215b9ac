"""Packs the ensemble of a finished study into a bundle, from what its finalists left behind.

Nothing is trained or scored here; what the bundle claims stands in the study's report.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from chorale.datasets import catalog, plugins
from chorale.datasets.atomic import write_text
from chorale.datasets.errors import UserError
from chorale.search import ensembles
from chorale.search.baselines.baseline_file import read_baseline
from chorale.search.bundle.bundle import Bundle, BundledBaseline, Network
from chorale.search.bundle.disagreement import disagreement, entropy, usual_limit_of_means
from chorale.search.bundle.encoder_copy import with_encoder
from chorale.search.bundle.writing import copy_file, write_bundle, write_manifest
from chorale.search.champion.pack.card import model_card
from chorale.search.combining import fitted_file
from chorale.search.combining.base import Model, Name, Said
from chorale.search.config.schema import SweepConfig
from chorale.search.evaluation.members import (
    Member,
    n_networks,
    read_member,
    said_by_networks,
    said_out_of_fold,
)
from chorale.search.ledger.baseline_predictions import read_banked
from chorale.search.ledger.ground_truth import Truth
from chorale.search.ledger.stages import Job
from chorale.search.paths import BundlePaths
from chorale.search.report.report import headline
from chorale.search.statistics.arrays import Floats
from chorale.search.statistics.calibration import calibrate


@dataclass(frozen=True)
class Packed:
    """What goes into a bundle: a report as its study wrote it, and the fitted ensemble."""

    sweep: SweepConfig
    truth: Truth
    report: Mapping[str, Any]
    model: Model
    members: tuple[Name, ...]
    architectures: tuple[str, ...]

    @property
    def kind(self) -> str:
        """Which ensemble."""
        return str(self.report["ensemble"]["kind"])

    def jobs(self, number: int) -> list[Job]:
        """The retrainings of a member, in the order of the ensemble's views."""
        folds, seeds = range(self.truth.split.n_folds), range(self.sweep.finalists.seeds)
        return [Job(number, fold, seed) for seed in seeds for fold in folds]


def collect(
    sweep: SweepConfig, truth: Truth, report: Mapping[str, Any], kinds_of: Mapping[int, str]
) -> Packed:
    """Reads the headline ensemble of a study.

    Args:
        sweep: the study's config.
        truth: of its tracks.
        report: its report.
        kinds_of: trial number -> architecture.

    Raises:
        UserError: the study has no audio features, or its ensemble is missing or damaged.
    """
    dataset = plugins.load(catalog, str(sweep.dataset.get("name")), kind="dataset")
    if dataset.INFO.features:
        raise UserError(
            f"study '{sweep.name}' learnt from ready-made {', '.join(dataset.INFO.features)} of "
            f"dataset '{dataset.INFO.name}', which no recording can be turned into; export a study "
            f"on recordings (the features stats57 and stats518 describe them by the same numbers)"
        )
    kind = report["ensemble"]["kind"]
    _, named, model = fitted_file.read_model(sweep.paths.ensemble_model(kind))
    if not model.arrays:  # a weighted mean: who has no weight need not come along
        used = np.flatnonzero(model.weights)
        named = tuple(named[i] for i in used)
        model = replace(model, weights=model.weights[used])
    architectures = tuple(n if isinstance(n, str) else kinds_of.get(n, "") for n in named)
    return Packed(sweep, truth, report, model, named, architectures)


def pack(packed: Packed, destination: Path) -> Bundle:
    """Writes the bundle; it appears under its name when it is whole.

    A bundle that is there already is replaced.

    Raises:
        UserError: `destination` holds something else, or a network of the study is missing.
    """
    return write_bundle(destination, lambda paths: _fill(paths, packed))


def _fill(paths: BundlePaths, packed: Packed) -> None:
    report = packed.report
    networks, configs = _copy_networks(paths, packed)
    baselines = _copy_baselines(paths, packed, configs)
    names = tuple(map(str, packed.members))
    fitted_file.write_model(paths.ensemble, packed.model, kind=packed.kind, members=packed.members)
    write_text(paths.card, model_card(report, licence=licence_of(packed.sweep)))
    manifest = {
        "study": packed.sweep.name,
        "labels": list(packed.truth.class_names),
        "kind": packed.kind,
        "members": list(names),
        "architectures": list(packed.architectures),
        "networks": [asdict(network) for network in networks],
        "features": configs,
        **({"baselines": [asdict(one) for one in baselines]} if baselines else {}),
        "temperature": report["calibration"]["temperature"],
        "coverage": report["conformal"]["wanted"],
        "least_proba": report["conformal"]["least_proba"],
        **_usual(packed),
        "about": {
            "headline": headline(report),
            "dataset": {**report["dataset"], "licence": licence_of(packed.sweep)},
            "split": report["split"],
            "out_of_fold": report["ensemble"]["out_of_fold"],
            "test": report["ensemble"]["test"],
            "test_looks": report["test_looks"],
            "versions": report["versions"],
        },
    }
    write_manifest(paths, manifest)


def _copy_networks(
    paths: BundlePaths, packed: Packed
) -> tuple[list[Network], dict[str, dict[str, Any]]]:
    """Every network, and the config of each feature set that they eat."""
    networks, configs = [], {}
    for at, number in enumerate(packed.members):
        if isinstance(number, str):
            continue
        for space, job in enumerate(packed.jobs(number)):
            source = packed.sweep.paths.finalist(number, fold=job.fold, seed=job.seed).weights
            folder = paths.networks / f"{number:04d}-fold-{job.fold}-seed-{job.seed}"
            card = _copied(source, folder, study=packed.sweep.name)
            name = card["features"]
            if name not in configs:
                configs[name] = with_encoder(name, card["features_config"], paths)
            networks.append(Network(folder.relative_to(paths.root).as_posix(), at, space, name))
    return networks, configs


def _copy_baselines(
    paths: BundlePaths, packed: Packed, configs: dict[str, dict[str, Any]]
) -> list[BundledBaseline]:
    """Every baseline among the members; `configs` gains the features that only they read."""
    found = []
    for at, name in enumerate(packed.members):
        if not isinstance(name, str):
            continue
        source = packed.sweep.paths.fitted_baseline(name)
        features, config = (one := read_baseline(source)).features, one.features_config
        if features not in configs:
            configs[features] = with_encoder(features, config, paths)
        copy_file(source, paths.baseline(name))
        place = paths.baseline(name).relative_to(paths.root).as_posix()
        found.append(BundledBaseline(place, at, features))
    return found


def _copied(source: Path, folder: Path, *, study: str) -> dict[str, Any]:
    """Copies a checkpoint, and gives its card."""
    try:
        for path in sorted(source.iterdir()):
            if not path.name.startswith("."):
                copy_file(path, folder / path.name)
        return dict(json.loads((folder / "card.json").read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise UserError(
            f"a network of study '{study}' is missing or damaged: '{source}' ({error}); train it "
            f"again: delete that folder's parent and chorale resume {study}"
        ) from None


def _usual(packed: Packed) -> dict[str, float | None]:
    """What hardly any new track exceeds, as `Predictor` finds it: a mean over networks.

    How much the members disagree; and, where there is a single one and so nobody to disagree, how
    unsure it is.
    """
    each = zip(packed.members, packed.architectures, strict=True)
    members = [_member(packed, name, architecture) for name, architecture in each]
    split = packed.truth.split
    out_of_fold, networks = said_out_of_fold(members, split), range(n_networks(members, split))

    def limit(measure: Callable[[Said], Floats]) -> float:
        each = [measure(said_by_networks(members, split, [at])) for at in networks]
        return usual_limit_of_means(measure(out_of_fold), np.stack(each))

    module: Any = plugins.load(ensembles, packed.kind, kind="ensemble")
    temperature = float(packed.report["calibration"]["temperature"])

    def unsure(said: Said) -> Floats:
        return entropy(calibrate(module.predict(packed.model, said), temperature))

    return {
        "most_disagreement": limit(lambda said: disagreement(said.proba)),
        "most_entropy": limit(unsure) if len(members) == 1 else None,
    }


def _member(packed: Packed, name: Name, architecture: str) -> Member:
    paths, split = packed.sweep.paths, packed.truth.split
    if isinstance(name, int):
        return read_member(paths, split, name, packed.jobs(name), architecture=architecture)
    said = read_banked(paths.baseline(name), split)
    return Member(name, said.out_of_fold, said.out_of_fold, said.test, architecture)


def licence_of(sweep: SweepConfig) -> str:
    """The licence of the data."""
    dataset = plugins.load(catalog, str(sweep.dataset["name"]), kind="dataset")
    return str(dataset.INFO.licence)
