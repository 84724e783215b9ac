"""Finalists' predictions -> members -> ensembles fitted on out-of-fold rows.

Reads the bank, never a model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from datasets import plugins
from datasets.split import Split
from search import bank
from search import ensembles as ensemble_files
from search.evaluate import score
from search.finalists import Job
from search.paths import StudyPaths
from search.prepare import Prepared


@dataclass(frozen=True)
class Member:
    """One finalist as the bank knows it, all float32.

    `validation` (n_valid, n_classes) is what its search trial said of fold 0, `out_of_fold`
    (n_development, n_classes) what its fold models said of rows that they had not seen, `test`
    (n_test, n_classes) the mean of its fold models.
    """

    number: int
    validation: np.ndarray
    out_of_fold: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Fitted:
    """One ensemble: its weights over all members, and what it says with them."""

    kind: str
    weights: Mapping[int, float]
    validation: np.ndarray
    out_of_fold: np.ndarray
    test: np.ndarray


def read_member(paths: StudyPaths, split: Split, number: int, jobs: Sequence[Job]) -> Member:
    """Joins the predictions of all retrainings of one finalist.

    Raises:
        UserError: a file is missing, damaged or of another split.
    """
    position = {track: i for i, track in enumerate(split.development_ids)}
    search_part = bank.read(
        paths.trial(number).predictions, {"valid": split.valid_ids(0)}, split=split.hash
    )
    n_classes = search_part["valid"].proba.shape[1]
    out_of_fold = np.zeros((len(position), n_classes), np.float32)
    test = np.zeros((len(split.test_ids), n_classes), np.float32)
    n_seeds = len({job.seed for job in jobs})
    for job in jobs:
        valid_ids = split.valid_ids(job.fold)
        parts = bank.read(
            paths.finalist(number, fold=job.fold, seed=job.seed).predictions,
            {"valid": valid_ids, "test": split.test_ids},
            split=split.hash,
        )
        out_of_fold[[position[track] for track in valid_ids]] += parts["valid"].proba / n_seeds
        test += parts["test"].proba / len(jobs)
    return Member(number, search_part["valid"].proba, out_of_fold, test)


def fit(kind: str, members: Sequence[Member], prepared: Prepared, *, seed: int) -> Fitted:
    """Fits one kind of ensemble on the out-of-fold rows of `members`."""
    module: Any = plugins.load(ensemble_files, kind, kind="ensemble")
    rows = prepared.rows(prepared.split.development_ids)
    weights = module.fit(
        np.stack([m.out_of_fold for m in members]),
        prepared.labels[rows],
        prepared.groups(rows),
        seed,
    )

    def say(parts: list[np.ndarray]) -> np.ndarray:
        return np.asarray(module.predict(weights, np.stack(parts)))

    return Fitted(
        kind,
        {m.number: float(w) for m, w in zip(members, weights, strict=True)},
        say([m.validation for m in members]),
        say([m.out_of_fold for m in members]),
        say([m.test for m in members]),
    )


def score_rows(
    proba: np.ndarray, track_ids: Sequence[str], prepared: Prepared, *, seed: int
) -> dict[str, Any]:
    """The JSON-ready scores of `proba` (n, n_classes) on the tracks that it is about."""
    rows = prepared.rows(track_ids)
    return score(proba, prepared.labels[rows], prepared.groups(rows), seed=seed).as_dict()
