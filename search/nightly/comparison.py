"""Champion/challenger comparison: predictions of both on the same locked tracks, and the gate.

The candidate's predictions were made in its sweep, at the night's one look at the test set. The
champion's were stored when it was a candidate; for a test set that has changed since, its bundle
predicts again.
"""

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from chorale.datasets import audio
from chorale.datasets.errors import UserError
from chorale.lightning_models.multi_label_metrics import main_score
from chorale.search.bundle.bundle import Bundle
from chorale.search.champion.registry.gate import Contender, Gate, GateDecision, decide_promotion
from chorale.search.config.limit_config import LimitConfig
from chorale.search.evaluation.chosen_predictions import read_chosen_predictions
from chorale.search.evaluation.members import score_rows
from chorale.search.evaluation.stored_baselines import baseline_names
from chorale.search.ledger.baseline_predictions import read_baseline_predictions
from chorale.search.ledger.ground_truth import GroundTruth, read_ground_truth
from chorale.search.paths import StudyPaths, folder_bytes
from chorale.search.report.report import read_report
from chorale.search.statistics import thresholds
from chorale.search.statistics.arrays import Proba

if TYPE_CHECKING:
    from chorale.search.training.latency import Latency

N_TIMED = 5
"""How many tracks the latency is measured on, in turn."""


@dataclass(frozen=True)
class Comparison:
    """The gate's decision, and the test scores (JSON-ready) of candidate and champion, if any.

    `latency_ms` is the CPU time of a prediction, which the gate limits; `latency_wall_ms` is the
    wall-clock time, which grows with other load on the machine.
    """

    decision: GateDecision
    candidate: dict[str, object]
    champion: dict[str, object] | None
    latency_ms: float
    latency_wall_ms: float
    size_mb: float


def compare_bundles(
    candidate: Bundle,
    champion: Bundle | None,
    *,
    study: StudyPaths,
    champion_study: StudyPaths | None,
    tracks: pd.DataFrame,
    gate: Gate,
    limit: LimitConfig,
    seed: int,
) -> Comparison:
    """Decides between both on the test tracks of tonight's study.

    Args:
        candidate: tonight's bundle.
        champion: the current champion's bundle.
        study: tonight's study.
        champion_study: the champion's study, if it had the same test tracks.
        tracks: tonight's tracks, with track_id, path and content.
        gate: the rules.
        limit: of tonight's sweep.
        seed: the seed of the resampling.

    Raises:
        UserError: the study's predictions are missing, or a track cannot be decoded.
    """
    truth = read_ground_truth(study)
    chosen = None if truth is None else read_chosen_predictions(study, truth)
    if truth is None or chosen is None:
        raise UserError(
            f"the study in '{study.root}' lacks its ensemble's predictions; run it again"
        )
    ids = truth.split.test_ids
    labels, groups = truth.labels(ids), truth.groups(ids)
    size_mb = folder_bytes(candidate.paths.root) / 1e6
    paths_of = dict(zip(tracks["track_id"].astype(str), tracks["path"].astype(str), strict=True))
    latency = _latency(candidate, [paths_of[name] for name in ids[:N_TIMED]])
    predicted = None
    if truth.multi_label:
        at = read_report(study)["thresholds"]
        predicted = thresholds.labels_above(
            chosen.calibrated_test, np.array([at[name] for name in truth.class_names])
        )
    over_limit = _exceeded(candidate, limit)
    challenger = Contender(chosen.test, latency.processor_ms, size_mb, predicted, over_limit)
    rival = None
    if champion is not None:
        rival = Contender(
            champion_predictions(champion, truth, champion_study=champion_study, paths=paths_of)
        )
    decision = decide_promotion(
        challenger,
        rival,
        labels,
        groups,
        truth.class_names,
        gate,
        baseline=best_baseline(study, truth),
        seed=seed,
    )
    return Comparison(
        decision,
        score_rows(chosen.test, ids, truth),
        None if rival is None else score_rows(rival.proba, ids, truth),
        latency.processor_ms,
        latency.p50_ms,
        size_mb,
    )


def champion_predictions(
    champion: Bundle,
    truth: GroundTruth,
    *,
    champion_study: StudyPaths | None,
    paths: dict[str, str],
) -> Proba:
    """The champion's predictions for the test tracks, (n_test, n_classes) in tonight's classes.

    Read from its own study where that has the same test tracks, else predicted by its bundle.

    Raises:
        UserError: it predicts one class of each track, and tonight they have several labels, or the
            other way round; or a track cannot be decoded.
    """
    _refuse_other_task(champion, truth)
    kept = None if champion_study is None else _kept(champion, truth, champion_study)
    if kept is not None:
        return kept
    from chorale.search.bundle.predictor import Predictor

    predictor = Predictor(champion)
    rows = [predictor.predict_file(Path(paths[name])).proba for name in truth.split.test_ids]
    at = {name: i for i, name in enumerate(champion.manifest.labels)}
    proba = np.zeros((len(rows), len(truth.class_names)))
    for i, name in enumerate(truth.class_names):
        if name in at:  # a class that was added later keeps 0
            proba[:, i] = [row[at[name]] for row in rows]
    if truth.multi_label:
        return proba
    left = 1 - proba.sum(axis=1, keepdims=True)  # probability of classes that no longer exist
    return np.asarray(proba + left / len(truth.class_names))


def _refuse_other_task(champion: Bundle, truth: GroundTruth) -> None:
    was, now = (
        "several labels" if multi_label else "one class"
        for multi_label in (champion.manifest.multi_label, truth.multi_label)
    )
    if was != now:
        raise UserError(
            f"the champion (of study '{champion.manifest.study}') predicts {was} of each "
            f"track, and tonight's tracks have {now}: they cannot be compared; give the file "
            f"another `champion` name to start over"
        )


def best_baseline(study: StudyPaths, truth: GroundTruth) -> tuple[str, Proba] | None:
    """The name and test predictions of a study's best baseline out of fold.

    None where the study has none.

    Raises:
        UserError: its predictions are damaged.
    """
    split = truth.split
    labels = truth.labels(split.development_ids)
    found: tuple[float, str, Proba] | None = None
    for name in baseline_names(study):
        path = study.baseline(name)
        if not path.is_file():
            continue
        predictions = read_baseline_predictions(path, split)
        value = main_score(predictions.out_of_fold, labels)
        if found is None or value > found[0]:
            found = value, name, predictions.test
    return None if found is None else found[1:]


def _kept(champion: Bundle, truth: GroundTruth, champion_study: StudyPaths) -> Proba | None:
    before = read_ground_truth(champion_study)
    if before is None or before.class_names != truth.class_names:
        return None
    if (
        before.split.test_ids != truth.split.test_ids
        or champion.manifest.study != champion_study.root.name
    ):
        return None
    chosen = read_chosen_predictions(champion_study, before)
    return None if chosen is None else chosen.test


def _exceeded(candidate: Bundle, limit: LimitConfig) -> str:
    if not limit.is_set:
        return ""
    from chorale.search.training.latency import exceeded_limit  # imports PyTorch

    return exceeded_limit(candidate.paths.root, limit)


def _latency(bundle: Bundle, files: list[str]) -> "Latency":
    """The latency of a prediction from a decoded recording, on one thread.

    Each recording is predicted once before the measurement: the first prediction of each length
    compiles kernels, loads libraries and plans transforms.
    """
    from chorale.search.bundle.predictor import Predictor
    from chorale.search.training.latency import N_CANDIDATE_ROUNDS, measure_latency

    predictor = Predictor(bundle)
    waveforms = [audio.load_audio(Path(file)) for file in files]
    for waveform in waveforms:
        predictor.predict_waveform(*waveform)
    in_turn = itertools.cycle(waveforms)
    return measure_latency(lambda: predictor.predict_waveform(*next(in_turn)), N_CANDIDATE_ROUNDS)


def max_test_looks(confidence: float) -> int:
    """How many nights may use a test set (multiple testing).

    Each night whose candidate is no better still promotes it with a probability of at most
    1 - `confidence`. The test set is used up when one such false promotion in that many nights is
    more likely than none.
    """
    return max(1, math.floor(math.log(0.5) / math.log(confidence)))
