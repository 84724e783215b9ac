"""Candidate and champion on the same locked tracks: what each says of them, and what the gate says.

The candidate has said it in its sweep, at the night's one look. The champion said it when it was a
candidate; of tracks that it has not met it is asked now, by its bundle.
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
from chorale.lightning_models.metrics import accuracy
from chorale.search.baselines.classifiers import GRIDS as BASELINES
from chorale.search.bundle.bundle import Bundle
from chorale.search.champion.registry.gate import Contender, Decision, Gate, decide
from chorale.search.evaluation.headline import read_headline
from chorale.search.ledger.baseline_predictions import read_banked
from chorale.search.ledger.ground_truth import Truth, read_truth
from chorale.search.paths import StudyPaths
from chorale.search.statistics.arrays import Proba
from chorale.search.statistics.scores import score

if TYPE_CHECKING:
    from chorale.search.training.latency import Latency

N_TIMED = 5
"""Of so many tracks predictions are timed, in turn and again and again."""


@dataclass(frozen=True)
class Contest:
    """A decision, and the test scores (JSON-ready) of both; the champion's are None without one.

    `latency_ms` is the processor's time for a prediction, by which the gate goes, `latency_wall_ms`
    that of the clock on the wall, which other work on the machine lengthens.
    """

    decision: Decision
    candidate: dict[str, object]
    champion: dict[str, object] | None
    latency_ms: float
    latency_wall_ms: float
    size_mb: float


def contest(
    candidate: Bundle,
    champion: Bundle | None,
    *,
    mine: StudyPaths,
    theirs: StudyPaths | None,
    tracks: pd.DataFrame,
    gate: Gate,
    seed: int,
) -> Contest:
    """Decides between both on the test tracks of tonight's study.

    Args:
        candidate: tonight's.
        champion: who is in use.
        mine: tonight's study.
        theirs: the champion's study, if it is there.
        tracks: tonight's, with track_id, path and content.
        gate: the rules.
        seed: of the draws.

    Raises:
        UserError: the champion does not know tonight's classes, or a track cannot be heard.
    """
    truth = read_truth(mine)
    said = None if truth is None else read_headline(mine, truth)
    if truth is None or said is None:
        raise UserError(f"the study in '{mine.root}' lacks what its ensemble said; run it again")
    ids = truth.split.test_ids
    labels, groups = truth.labels(ids), truth.groups(ids)
    size_mb = size_of(candidate.paths.root) / 1e6
    paths_of = dict(zip(tracks["track_id"].astype(str), tracks["path"].astype(str), strict=True))
    latency = _latency(candidate, [paths_of[name] for name in ids[:N_TIMED]])
    mine_said = Contender(said.test, latency.processor_ms, size_mb)
    rival = None
    if champion is not None:
        rival = Contender(said_of(champion, truth, theirs=theirs, paths=paths_of))
    decision = decide(
        mine_said,
        rival,
        labels,
        groups,
        truth.class_names,
        gate,
        baseline=best_baseline(mine, truth),
        seed=seed,
    )
    return Contest(
        decision,
        score(said.test, labels, groups).as_dict(),
        None if rival is None else score(rival.proba, labels, groups).as_dict(),
        latency.processor_ms,
        latency.p50_ms,
        size_mb,
    )


def said_of(
    champion: Bundle, truth: Truth, *, theirs: StudyPaths | None, paths: dict[str, str]
) -> Proba:
    """What the champion says of the test tracks, (n_test, n_classes) in the truth's classes.

    From its own study's bank where that is about the very same test tracks, else from its bundle.
    """
    kept = None if theirs is None else _kept(champion, truth, theirs)
    if kept is not None:
        return kept
    from chorale.search.bundle.predictor import Predictor

    predictor = Predictor(champion)
    rows = [predictor.of_file(Path(paths[name])).proba for name in truth.split.test_ids]
    at = {name: i for i, name in enumerate(champion.manifest.labels)}
    proba = np.zeros((len(rows), len(truth.class_names)))
    for i, name in enumerate(truth.class_names):
        if name in at:  # of a class that came later it knows nothing
            proba[:, i] = [row[at[name]] for row in rows]
    left = 1 - proba.sum(axis=1, keepdims=True)  # what it gives to classes that are gone
    return np.asarray(proba + left / len(truth.class_names))


def best_baseline(study: StudyPaths, truth: Truth) -> tuple[str, Proba] | None:
    """The baseline of a study with the highest accuracy out of fold, and what it says of the test.

    None where the study has none.

    Raises:
        UserError: what it said is damaged.
    """
    split = truth.split
    labels = truth.labels(split.development_ids)
    found: tuple[float, str, Proba] | None = None
    for name in BASELINES:
        path = study.baseline(name)
        if not path.is_file():
            continue
        said = read_banked(path, split)
        share = accuracy(said.out_of_fold, labels)
        if found is None or share > found[0]:
            found = share, name, said.test
    return None if found is None else found[1:]


def _kept(champion: Bundle, truth: Truth, theirs: StudyPaths) -> Proba | None:
    before = read_truth(theirs)
    if before is None or before.class_names != truth.class_names:
        return None
    if before.split.test_ids != truth.split.test_ids or champion.manifest.study != theirs.root.name:
        return None
    said = read_headline(theirs, before)
    return None if said is None else said.test


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _latency(bundle: Bundle, files: list[str]) -> "Latency":
    """What a prediction takes, from a decoded recording, on one thread.

    Each recording is asked about once before anything is timed: the first time of each length
    compiles, loads and plans what later ones find ready.
    """
    from chorale.search.bundle.predictor import Predictor
    from chorale.search.training.latency import N_TIMES, measure

    predictor = Predictor(bundle)
    waves = [audio.load(Path(file)) for file in files]
    for wave in waves:
        predictor.of_waveform(*wave)
    in_turn = itertools.cycle(waves)
    return measure(lambda: predictor.of_waveform(*next(in_turn)), N_TIMES)


def looks_allowed(confidence: float) -> int:
    """How many nights a test set is good for.

    Each night on which the candidate is no better promotes one nevertheless with a probability of
    at most 1 - `confidence`. It is worn out when one such promotion in so many nights is more
    likely than none.
    """
    return max(1, math.floor(math.log(0.5) / math.log(confidence)))
