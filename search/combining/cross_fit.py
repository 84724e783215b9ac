"""Cuts rows by group, and lets each cut be predicted by an ensemble that was fitted on the others.

Ensembles choose their own strength so, and `search.statistics.selection` which of them to believe.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chorale.search.combining.base import Ensemble, Model, Said
from chorale.search.statistics.arrays import Floats, Groups, Labels
from chorale.search.statistics.group_cuts import cut, held_out


@dataclass(frozen=True)
class CrossFitted:
    """What an ensemble says of rows that it was not fitted on.

    `cuts` (n_tracks,) numbers the cut of each row, `models` holds the ensemble that was fitted on
    all other cuts, and `proba` (n_tracks, n_classes) what that one says.
    """

    cuts: NDArray[np.int64]
    models: tuple[Model, ...]
    proba: Floats


def cross_fit(
    ensemble: Ensemble, said: Said, labels: Labels, groups: Groups, *, seed: int
) -> CrossFitted | None:
    """Fits `ensemble` once for each cut, on all others; None where all rows are of one group.

    Raises:
        UserError: as `search.combining.base.Ensemble.fit`.
    """
    cuts = cut(labels, groups, seed=seed)
    if cuts.max() == 0:
        return None
    proba = np.zeros(said.proba.shape[1:])
    models = []
    for out in held_out(cuts):
        model = ensemble.fit(said.tracks(~out), labels[~out], groups[~out], seed)
        proba[out] = ensemble.predict(model, said.tracks(out))
        models.append(model)
    return CrossFitted(cuts, tuple(models), proba)
