"""A second seed in the prediction bank of a synthetic study of `bench_ensembles`."""

from collections.abc import Mapping

import numpy as np

from chorale.search.ledger import predictions
from chorale.search.ledger.ground_truth import read_ground_truth
from chorale.search.ledger.ledger import Ledger, Row
from chorale.search.ledger.predictions import PredictionPart
from chorale.search.ledger.stages import FINALISTS, Job
from chorale.search.paths import StudyPaths
from chorale.search.study.trial_outcome import OUT_OF_TIME


def add_seed(paths: StudyPaths, n_complete: Mapping[int, int], *, seed: int = 1) -> None:
    """Adds a seed to finalists, complete on the first folds and out of time on the next one.

    Args:
        paths: of the study.
        n_complete: finalist -> how many of its folds are complete.
        seed: its number. Its predictions are those of seed 0, halfway to uniform.
    """
    truth = read_ground_truth(paths)
    if truth is None:
        raise RuntimeError("the study has no ground truth")
    split = truth.split
    ledger = Ledger(f"sqlite:///{paths.root.parent / 'chorale.db'}")
    for number, n in n_complete.items():
        for fold in range(n):
            job = Job(number, fold, seed)
            ids = {"valid": split.valid_ids(fold), "test": split.test_ids}
            first = paths.finalist(number, fold=fold, seed=0).predictions
            parts = {}
            for name, one in predictions.read_predictions(first, ids, split=split.hash).items():
                proba = (0.5 * one.proba + 0.5 / one.proba.shape[1]).astype(np.float32)
                embeddings = None if one.embeddings is None else -one.embeddings
                parts[name] = PredictionPart(one.track_ids, proba, embeddings)
            where = paths.finalist(number, fold=fold, seed=seed).predictions
            predictions.write_predictions(where, parts, split=split.hash)
            ledger.record(paths.root.name, FINALISTS, Row(job.key, "COMPLETE"))
        if n < split.n_folds:
            row = Row(Job(number, n, seed).key, "PRUNED", OUT_OF_TIME)
            ledger.record(paths.root.name, FINALISTS, row)
    ledger.close()
