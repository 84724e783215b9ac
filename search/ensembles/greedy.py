"""Members chosen one by one, again and again, each time the one that helps the mean most.

One of the ensembles that `search.evaluation.members` fits on out-of-fold rows.

Source: Caruana et al. 2004, "Ensemble Selection from Libraries of Models",
doi:10.1145/1015330.1015432: with replacement, begun with the best, bagged. Bags are drawn of groups
of tracks here and not of members: few finalists make poor bags, and it is the tracks that vary.
"""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.seeds import Purpose, generator
from chorale.search.combining.base import Model, Said, best_members, weighted_mean
from chorale.search.statistics.arrays import Floats, Groups, Labels, check_rows

N_BAGS = 10
N_STEPS = 25
"""How many members, counted with repetition, a bag chooses."""

NEAR = 1e-4
"""Nats; members that lower the log loss by the same but for this are equally good."""

SMALLEST = 1e-6
"""What a member says of the true class counts as this at least."""


def fit(said: Said, labels: Labels, groups: Groups, seed: int) -> Model:
    """How often each member was chosen, over all bags, as shares. See `search.combining.base`."""
    check_rows(said.proba, labels, groups, n_dims=3)
    # ties go by this order, and so not by that in which the members came
    order = best_members(said.proba, labels, len(said.proba))
    true = said.proba[order][:, np.arange(len(labels)), labels].astype(np.float64)
    true = np.maximum(true, SMALLEST)
    kinds = tuple(said.kinds[m] for m in order) if said.kinds else ("",) * len(order)
    _, group_of = np.unique(groups, return_inverse=True)
    n_groups = int(group_of.max()) + 1
    rng = generator(seed, Purpose.GREEDY)
    chosen = np.zeros(len(order), dtype=np.int64)
    for _ in range(N_BAGS):
        times = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups))[group_of]
        rows = times > 0
        chosen += _select(true[:, rows], times[rows] / times.sum(), kinds)
    weights = np.zeros(len(order))
    weights[order] = chosen / chosen.sum()
    return Model(weights, facts={"n_bags": N_BAGS, "n_steps": N_STEPS})


def predict(model: Model, said: Said) -> Floats:
    """The weighted mean of the chosen. See `search.combining.base.Ensemble`."""
    return weighted_mean(model.weights, said.proba)


def _select(true: Floats, shares: Floats, kinds: tuple[str, ...]) -> NDArray[np.int64]:
    """How often each member is chosen, by the log loss of the mean.

    Of equally good ones comes first who is chosen already, then one of an architecture that is
    rare among the chosen, then the better one.

    Args:
        true: (n_members, n_tracks), what each said of the true class; the best member first.
        shares: (n_tracks,), how much a track counts.
        kinds: each member's architecture.
    """
    times = np.zeros(len(true), dtype=np.int64)
    total = np.zeros(true.shape[1])
    of_kind: Counter[str] = Counter()
    for step in range(1, N_STEPS + 1):
        losses = -np.log((total + true) / step) @ shares
        near = np.flatnonzero(losses <= losses.min() + NEAR)
        best = min(near, key=lambda m: (times[m] == 0, of_kind[kinds[m]], m))
        times[best] += 1
        of_kind[kinds[best]] += 1
        total += true[best]
    return times
