"""Greedy ensemble selection: adds members one by one, each the one that most improves the mean.

Source: Caruana et al. 2004, "Ensemble Selection from Libraries of Models",
doi:10.1145/1015330.1015432: with replacement, starting with the best, bagged. Here bags are drawn
from groups of tracks, not from members: there are too few finalists to bag, and it is the tracks
that vary.
"""

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.seeds import Purpose, random_generator
from chorale.search.combining.base import (
    TRUE_PROBA_FLOOR,
    EnsembleModel,
    MemberPredictions,
    best_members,
    weighted_mean,
)
from chorale.search.statistics.arrays import Floats, Groups, Labels, check_rows

if TYPE_CHECKING:
    from torch import nn

N_BAGS = 10
N_SELECTIONS = 25
"""Members chosen per bag, with repetition."""

TIE_TOLERANCE_NATS = 1e-4
"""Members whose log losses differ by less than this are equally good."""


def fit(predictions: MemberPredictions, labels: Labels, groups: Groups, seed: int) -> EnsembleModel:
    """Weights members by how often they were chosen, over all bags. See `search.combining.base`."""
    check_rows(predictions.proba, labels, groups, n_dims=3)
    # ties are broken by this order, not by that of the arguments
    order = best_members(predictions.proba, labels, len(predictions.proba))
    true = predictions.proba[order][:, np.arange(len(labels)), labels].astype(np.float64)
    true = np.maximum(true, TRUE_PROBA_FLOOR)
    kinds = tuple(predictions.kinds[m] for m in order) if predictions.kinds else ("",) * len(order)
    _, group_of = np.unique(groups, return_inverse=True)
    n_groups = int(group_of.max()) + 1
    rng = random_generator(seed, Purpose.GREEDY)
    chosen = np.zeros(len(order), dtype=np.int64)
    for _ in range(N_BAGS):
        times = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups))[group_of]
        rows = times > 0
        chosen += _select(true[:, rows], times[rows] / times.sum(), kinds)
    weights = np.zeros(len(order))
    weights[order] = chosen / chosen.sum()
    return EnsembleModel(weights, facts={"n_bags": N_BAGS, "n_steps": N_SELECTIONS})


def predict(model: EnsembleModel, predictions: MemberPredictions) -> Floats:
    """The weighted mean of the chosen members. See `search.combining.base.Ensemble`."""
    return weighted_mean(model.weights, predictions.proba)


def network(model: EnsembleModel) -> "nn.Module":
    """The ensemble as a module, for export: (n_members, n_classes) -> (n_classes,)."""
    from chorale.search.combining.networks import WeightedMeanNetwork

    return WeightedMeanNetwork(model)


def _select(true: Floats, shares: Floats, kinds: tuple[str, ...]) -> NDArray[np.int64]:
    """How often each member is chosen, by the log loss of the mean.

    Of equally good members one that is already chosen comes first, then one of the architecture
    that is rarest among the chosen, then the better one.

    Args:
        true: (n_members, n_tracks), probabilities of the true class; the best member first.
        shares: (n_tracks,), the weight of each track in the bag.
        kinds: each member's architecture.
    """
    times = np.zeros(len(true), dtype=np.int64)
    total = np.zeros(true.shape[1])
    n_of_kind: Counter[str] = Counter()
    for step in range(1, N_SELECTIONS + 1):
        losses = -np.log((total + true) / step) @ shares
        near = np.flatnonzero(losses <= losses.min() + TIE_TOLERANCE_NATS)
        best = min(near, key=lambda m: (times[m] == 0, n_of_kind[kinds[m]], m))
        times[best] += 1
        n_of_kind[kinds[best]] += 1
        total += true[best]
    return times
