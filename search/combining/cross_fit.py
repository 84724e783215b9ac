"""Cross-fitting: predicts each group-disjoint inner fold by an ensemble fitted on the other folds.

`search.evaluation.members` cross-fits every kind of ensemble, so that `search.statistics.selection`
can choose a kind by predictions for groups that the ensemble was not fitted on.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chorale.search.combining.base import Ensemble, EnsembleModel, MemberPredictions
from chorale.search.statistics.arrays import Floats, Groups, Labels
from chorale.search.statistics.inner_folds import held_out_masks, inner_folds


@dataclass(frozen=True)
class CrossFitted:
    """An ensemble's predictions for rows that it was not fitted on.

    `folds` (n_tracks,) is the inner fold of each row, `models` holds for each fold the ensemble
    fitted on all other folds, and `proba` (n_tracks, n_classes) the predictions of these models.
    """

    folds: NDArray[np.int64]
    models: tuple[EnsembleModel, ...]
    proba: Floats


def cross_fit(
    ensemble: Ensemble, predictions: MemberPredictions, labels: Labels, groups: Groups, *, seed: int
) -> CrossFitted | None:
    """Fits `ensemble` once per inner fold, on all others; None where all rows are of one group.

    Raises:
        UserError: as `search.combining.base.Ensemble.fit`.
    """
    folds = inner_folds(labels, groups, seed=seed)
    if folds.max() == 0:
        return None
    proba = np.zeros(predictions.proba.shape[1:])
    models = []
    for out in held_out_masks(folds):
        model = ensemble.fit(predictions.select_tracks(~out), labels[~out], groups[~out], seed)
        proba[out] = ensemble.predict(model, predictions.select_tracks(out))
        models.append(model)
    return CrossFitted(folds, tuple(models), proba)
