"""The Pareto front of trials in two objectives: non-dominated sorting and crowding distance.

The leaderboard marks the front, and the sampler `nsga2` takes parents from it.

Source: Deb et al. 2002, "A fast and elitist multiobjective genetic algorithm: NSGA-II",
doi:10.1109/4235.996017 (ranking and crowding).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from chorale.search.ledger.reader import Row

Losses = Sequence[tuple[float, ...]]
"""One tuple per trial; lower is better in each objective."""


def second_objective(row: Row, second: str) -> float | None:
    """A trial's value of the second objective (`latency_ms`, `n_parameters`), or None."""
    value = row.facts.get(second, row.facts.get("metrics", {}).get(second))
    return None if value is None else float(value)


def pareto_front(rows: Mapping[str, Row], *, objective: str, second: str) -> list[str]:
    """The keys of the completed trials that no other one dominates, best objective first.

    A trial is dominated by one that is as good in both objectives and better in one. Equal trials
    all stay. Trials without a second value are left out; with `second` "none" the front is the
    trials of the highest objective.
    """
    keys: list[str] = []
    losses: list[tuple[float, ...]] = []
    for key, row in rows.items():
        if row.state != "COMPLETE":
            continue
        loss: tuple[float, ...] = (-float(row.facts["metrics"][objective]),)
        if second != "none":
            value = second_objective(row, second)
            if value is None:
                continue
            loss = (*loss, value)
        keys.append(key)
        losses.append(loss)
    first = [i for i, rank in enumerate(pareto_ranks(losses)) if rank == 0]
    return [keys[i] for i in sorted(first, key=lambda i: (losses[i], int(keys[i])))]


def pareto_ranks(losses: Losses) -> list[int]:
    """The rank of each trial: the number of fronts to remove until it is in the front."""
    array = np.asarray(losses, dtype=np.float64)
    rank = np.full(len(array), -1)
    current = 0
    while (left := np.flatnonzero(rank < 0)).size:
        points = array[left]
        no_worse = (points[:, None, :] <= points[None, :, :]).all(axis=2)  # (dominating, dominated)
        better = (points[:, None, :] < points[None, :, :]).any(axis=2)
        dominated = (no_worse & better).any(axis=0)
        rank[left[~dominated]] = current
        current += 1
    return [int(r) for r in rank]


def crowding_distances(losses: Losses) -> NDArray[np.float64]:
    """The crowding distance of each trial within its front: infinite at the ends, (n_trials,)."""
    array = np.asarray(losses, dtype=np.float64)
    distance = np.zeros(len(array))
    by_rank = np.asarray(pareto_ranks(losses))
    for rank in set(by_rank.tolist()):
        members = np.flatnonzero(by_rank == rank)
        for axis in range(array.shape[1]):
            order = members[np.argsort(array[members, axis], kind="stable")]
            values = array[order, axis]
            distance[order[[0, -1]]] = np.inf
            if values[-1] > values[0]:
                distance[order[1:-1]] += (values[2:] - values[:-2]) / (values[-1] - values[0])
    return distance
