"""Model packaging: writes the ensemble of a finished study as a bundle, from its finalists' files.

Nothing is trained or scored here; all scores in the bundle come from the study's report.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from chorale.datasets import catalog, plugins
from chorale.datasets.atomic import write_text
from chorale.datasets.base import EncoderInfo
from chorale.datasets.errors import UserError, join_first
from chorale.search.baselines.baseline_file import read_baseline
from chorale.search.bundle.bundle import Bundle, BundledBaseline, BundledNetwork
from chorale.search.bundle.disagreement import (
    disagreement,
    ood_threshold_of_means,
    predictive_entropy,
)
from chorale.search.bundle.encoder_copy import fine_tuned_encoders, with_bundled_encoder
from chorale.search.bundle.writing import copy_file, write_bundle, write_manifest
from chorale.search.champion.pack.card import model_card
from chorale.search.champion.pack.confidence import confidence_field
from chorale.search.champion.pack.novelty import fit_novelty
from chorale.search.combining import fitted_file
from chorale.search.combining.base import EnsembleModel, MemberName, MemberPredictions
from chorale.search.config.schema import SweepConfig
from chorale.search.ensembles import load_ensemble
from chorale.search.evaluation.chosen_predictions import (
    ChosenPredictions,
    read_chosen_predictions,
)
from chorale.search.evaluation.members import (
    Member,
    n_networks,
    out_of_fold_by_seed,
    predictions_by_networks,
    read_member,
)
from chorale.search.ledger.baseline_predictions import read_baseline_predictions
from chorale.search.ledger.ground_truth import GroundTruth
from chorale.search.ledger.stages import Job
from chorale.search.paths import BundlePaths
from chorale.search.report.report import headline_sentence
from chorale.search.statistics.arrays import Floats
from chorale.search.statistics.calibration import calibrate


@dataclass(frozen=True)
class BundleContents:
    """What a bundle is made of: a study's config and report, and its fitted ensemble.

    `predictions` are that ensemble's for the study's tracks; None in studies of older versions, and
    where it is not the one that the study chose.
    """

    sweep: SweepConfig
    truth: GroundTruth
    report: Mapping[str, Any]
    model: EnsembleModel
    members: tuple[MemberName, ...]
    architectures: tuple[str, ...]
    predictions: ChosenPredictions | None = None

    @property
    def kind(self) -> str:
        """The kind of ensemble."""
        return str(self.report["ensemble"]["kind"])

    def jobs(self, number: int) -> list[Job]:
        """The finalist trainings of a member, in the order of the embedding views."""
        every = range(self.sweep.finalists.n_seeds)  # in reports of older versions
        seeds = self.report.get("seeds", {}).get(str(number), every)
        folds = range(self.truth.split.n_folds)
        return [Job(number, fold, seed) for seed in seeds for fold in folds]


def collect_contents(
    sweep: SweepConfig,
    truth: GroundTruth,
    report: Mapping[str, Any],
    architecture_of: Mapping[int, str],
) -> BundleContents:
    """Reads the ensemble that a study chose.

    Args:
        sweep: the study's config.
        truth: labels, groups and split of its tracks.
        report: its report.
        architecture_of: trial number -> architecture.

    Raises:
        UserError: the study has no audio features, or its ensemble is missing or damaged.
    """
    dataset = plugins.load_plugin(catalog, str(sweep.dataset.get("name")), kind="dataset")
    if dataset.INFO.features:
        raise UserError(
            f"study '{sweep.name}' was trained on the precomputed "
            f"{', '.join(dataset.INFO.features)} of dataset '{dataset.INFO.name}', which cannot be "
            f"computed from a recording; export a study on recordings (the feature sets stats57 "
            f"and stats518 compute the same features)"
        )
    kind = report["ensemble"]["kind"]
    _, named, model = fitted_file.read_ensemble(sweep.paths.ensemble_model(kind))
    if not model.arrays:  # a weighted mean: members of weight 0 are left out
        used = np.flatnonzero(model.weights)
        named = tuple(named[i] for i in used)
        model = replace(model, weights=model.weights[used])
    architectures = tuple(n if isinstance(n, str) else architecture_of.get(n, "") for n in named)
    predictions = read_chosen_predictions(sweep.paths, truth)
    return BundleContents(sweep, truth, report, model, named, architectures, predictions)


def pack_bundle(contents: BundleContents, destination: Path) -> Bundle:
    """Writes the bundle atomically; one that is there already is replaced.

    Raises:
        UserError: `destination` holds something else, or a network of the study is missing.
    """
    return write_bundle(destination, lambda paths: _fill(paths, contents))


def _fill(paths: BundlePaths, contents: BundleContents) -> None:
    report = contents.report
    encoders: dict[str, EncoderInfo] = {}
    networks, configs = _copy_networks(paths, contents, encoders)
    baselines = _copy_baselines(paths, contents, configs, encoders)
    n_of_members = set(Counter(network.member for network in networks).values())
    names = tuple(map(str, contents.members))
    fitted_file.write_ensemble(
        paths.ensemble, contents.model, kind=contents.kind, members=contents.members
    )
    licence, each = licence_of(contents.sweep), tuple(encoders.values())
    tuned = fine_tuned_encoders(configs)
    card = model_card(report, licence=licence, encoders=each, fine_tuned=tuned)
    write_text(paths.card, card)
    novelty = fit_novelty(contents.sweep.paths, contents.truth.split, configs)
    if novelty is not None:
        novelty.write(paths.novelty)
    manifest = {
        "study": contents.sweep.name,
        "labels": list(contents.truth.class_names),
        "kind": contents.kind,
        "members": list(names),
        "architectures": list(contents.architectures),
        "networks": [asdict(network) for network in networks],
        **({"n_folds": contents.truth.split.n_folds} if len(n_of_members) > 1 else {}),
        "features": configs,
        **({"baselines": [asdict(one) for one in baselines]} if baselines else {}),
        "temperature": report["calibration"]["temperature"],
        "coverage": report["conformal"]["wanted"],
        "least_proba": report["conformal"]["least_proba"],
        **_ood_thresholds(contents),
        **({} if novelty is None else {"has_novelty": True}),
        **_task(contents),
        **confidence_field(
            contents.predictions, contents.truth, report, n_detectors=1 + (novelty is not None)
        ),
        "about": {
            "headline": headline_sentence(report),
            "dataset": {**report["dataset"], "licence": licence},
            **({"encoders": {e.name: e.weights_licence for e in each}} if each else {}),
            "split": report["split"],
            "out_of_fold": report["ensemble"]["out_of_fold"],
            "test": report["ensemble"]["test"],
            "test_looks": report["test_looks"],
            "versions": report["versions"],
        },
    }
    write_manifest(paths, manifest)


def _task(contents: BundleContents) -> dict[str, Any]:
    """The fields of a manifest where tracks have several labels; none where they have one."""
    if not contents.truth.multi_label:
        return {}
    found, names = contents.report.get("thresholds", {}), contents.truth.class_names
    if missing := [name for name in names if name not in found]:
        raise UserError(
            f"the report of study '{contents.sweep.name}' lacks the thresholds of "
            f"{join_first(missing)}; make it again: chorale ensemble {contents.sweep.name}"
        )
    return {"task": "multi_label", "thresholds": {name: found[name] for name in names}}


def _copy_networks(
    paths: BundlePaths, contents: BundleContents, encoders: dict[str, EncoderInfo]
) -> tuple[list[BundledNetwork], dict[str, dict[str, Any]]]:
    """All networks, and the config of each feature set that they take as input.

    Adds the encoders of these to `encoders`.
    """
    networks, configs = [], {}
    for at, number in enumerate(contents.members):
        if isinstance(number, str):
            continue
        for space, job in enumerate(contents.jobs(number)):
            source = contents.sweep.paths.finalist(number, fold=job.fold, seed=job.seed).weights
            folder = paths.networks / f"{number:04d}-fold-{job.fold}-seed-{job.seed}"
            card = _copy_checkpoint(source, folder, study=contents.sweep.name)
            name = card["features"]
            if name not in configs:
                configs[name] = with_bundled_encoder(
                    name, card["features_config"], paths, used=encoders
                )
            networks.append(
                BundledNetwork(folder.relative_to(paths.root).as_posix(), at, space, name)
            )
    return networks, configs


def _copy_baselines(
    paths: BundlePaths,
    contents: BundleContents,
    configs: dict[str, dict[str, Any]],
    encoders: dict[str, EncoderInfo],
) -> list[BundledBaseline]:
    """All baselines among the members; adds the features that only they use, and the encoders."""
    found = []
    for at, name in enumerate(contents.members):
        if not isinstance(name, str):
            continue
        source = contents.sweep.paths.fitted_baseline(name)
        features, config = (one := read_baseline(source)).features, one.features_config
        if features not in configs:
            configs[features] = with_bundled_encoder(features, config, paths, used=encoders)
        copy_file(source, paths.baseline(name))
        place = paths.baseline(name).relative_to(paths.root).as_posix()
        found.append(BundledBaseline(place, at, features))
    return found


def _copy_checkpoint(source: Path, folder: Path, *, study: str) -> dict[str, Any]:
    """Copies a checkpoint; gives its card."""
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


def _ood_thresholds(contents: BundleContents) -> dict[str, float | None]:
    """Thresholds for flagging out-of-distribution tracks, of measures as `Predictor` takes them.

    The measures are the members' disagreement and, for a single member, predictive entropy; both
    are means over networks. Out-of-fold rows are measured by one network of each member, too: the
    means over several seeds agree more than single networks do.
    """
    each = zip(contents.members, contents.architectures, strict=True)
    members = [_member(contents, name, architecture) for name, architecture in each]
    split = contents.truth.split
    out_of_fold, networks = out_of_fold_by_seed(members, split), range(n_networks(members, split))

    def threshold(measure: Callable[[MemberPredictions], Floats]) -> float:
        each = [measure(predictions_by_networks(members, split, [at])) for at in networks]
        return ood_threshold_of_means(
            np.concatenate([measure(one) for one in out_of_fold]), np.stack(each)
        )

    multi_label = contents.truth.multi_label
    ensemble = load_ensemble(contents.kind, multi_label=multi_label)
    temperature = float(contents.report["calibration"]["temperature"])

    def entropy(predictions: MemberPredictions) -> Floats:
        proba = ensemble.predict(contents.model, predictions)
        calibrated = calibrate(proba, temperature, multi_label=multi_label)
        return predictive_entropy(calibrated, multi_label=multi_label)

    return {
        "most_disagreement": threshold(
            lambda predictions: disagreement(predictions.proba, multi_label=multi_label)
        ),
        "most_entropy": threshold(entropy) if len(members) == 1 else None,
    }


def _member(contents: BundleContents, name: MemberName, architecture: str) -> Member:
    paths, split = contents.sweep.paths, contents.truth.split
    if isinstance(name, int):
        return read_member(paths, split, name, contents.jobs(name), architecture=architecture)
    kept = read_baseline_predictions(paths.baseline(name), split)
    return Member(name, kept.out_of_fold, kept.out_of_fold, kept.test, architecture)


def licence_of(sweep: SweepConfig) -> str:
    """The licence of the data."""
    dataset = plugins.load_plugin(catalog, str(sweep.dataset["name"]), kind="dataset")
    return str(dataset.INFO.licence)
