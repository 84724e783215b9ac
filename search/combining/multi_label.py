"""Ensembles of multi-label members: each label of each track is a yes-or-no decision of its own.

So every kind of ensemble, a plug-in's too, combines multi-label predictions without a line for it:
it is fitted on rows of two classes, absent and present, one for each track and label (binary
relevance, with parameters that all labels share). Embeddings of members are not used, as a track's
embedding is that of all its labels.

Source: binary relevance as in Tsoumakas and Katakis 2007, "Multi-Label Classification: An
Overview", doi:10.4018/jdwm.2007070101.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.label_sets import is_known
from chorale.datasets.seeds import Purpose, random_generator
from chorale.search.combining.base import EnsembleModel, MemberPredictions
from chorale.search.statistics.arrays import (
    Floats,
    Groups,
    Labels,
    check_proba,
    check_rows,
    decisions,
    from_decisions,
    known_decisions,
)

MAX_DECISIONS = 200_000
"""An ensemble is fitted on at most about so many decisions, those of random groups: the time to fit
one does not grow with the data."""


@dataclass(frozen=True)
class MultiLabelEnsemble:
    """An ensemble of classes, used on multi-label predictions. See `search.combining.base`.

    An ensemble may offer `fit_labels(predictions, labels)` to be fitted on (n_tracks, n_classes)
    labels instead of decisions.
    """

    ensemble: Any

    def fit(
        self, predictions: MemberPredictions, labels: Labels, groups: Groups, seed: int
    ) -> EnsembleModel:
        """Fits it on decisions; `labels` are (n_tracks, n_classes), of which unknown ones are no
        decision.
        """
        check_rows(predictions.proba, labels, groups, n_dims=3)
        if hasattr(self.ensemble, "fit_labels"):
            model: EnsembleModel = self.ensemble.fit_labels(predictions, labels)
            return model
        rows = _drawn(labels, groups, seed)
        mine, labels, groups = predictions.select_tracks(rows), labels[rows], groups[rows]
        proba, present = known_decisions(mine.proba, labels)
        of_decisions = np.repeat(groups, labels.shape[1])[is_known(labels).ravel()]
        fitted: EnsembleModel = self.ensemble.fit(
            MemberPredictions(proba, mine.kinds), present, of_decisions, seed
        )
        return fitted

    def predict(self, model: EnsembleModel, predictions: MemberPredictions) -> Floats:
        """The combined probabilities of each label: (n_tracks, n_classes)."""
        check_proba(predictions.proba, n_dims=3, multi_label=True)
        found = self.ensemble.predict(model, _decisions(predictions))
        return from_decisions(found, predictions.proba.shape[2])


def _decisions(predictions: MemberPredictions) -> MemberPredictions:
    return MemberPredictions(decisions(predictions.proba), predictions.kinds)


def _drawn(labels: Labels, groups: Groups, seed: int) -> NDArray[np.int64]:
    """All tracks, or those of random groups that have `MAX_DECISIONS` decisions together."""
    if labels.size <= MAX_DECISIONS:
        return np.arange(len(labels))
    _, group_of = np.unique(groups, return_inverse=True)
    order = random_generator(seed, Purpose.DECISIONS).permutation(int(group_of.max()) + 1)
    sizes = np.bincount(group_of)[order]
    n_groups = max(2, int(np.searchsorted(np.cumsum(sizes), MAX_DECISIONS // labels.shape[1])))
    return np.flatnonzero(np.isin(group_of, order[:n_groups]))
