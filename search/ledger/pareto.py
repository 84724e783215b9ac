"""Which of several trials no other beats in both of two objectives.

The leaderboard marks them, and the sampler `nsga2` breeds from them.

Source: Deb et al. 2002, "A fast and elitist multiobjective genetic algorithm: NSGA-II",
doi:10.1109/4235.996017 (ranking and crowding).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from chorale.search.ledger.reader import Row

Losses = Sequence[tuple[float, ...]]
"""One tuple for each trial, lower is better in each place."""


def second_value(row: Row, second: str) -> float | None:
    """What a trial measured of the second objective, or None: `latency_ms`, `n_parameters`."""
    value = row.facts.get(second, row.facts.get("metrics", {}).get(second))
    return None if value is None else float(value)


def front(rows: Mapping[str, Row], *, objective: str, second: str) -> list[str]:
    """The keys of the finished trials that no other finished trial beats, best objective first.

    A trial is beaten by one that is as good in both objectives and better in one. Of equals all
    stay. Trials without a measured second value are left out; with `second` "none" only the trials
    of the highest objective are in front.
    """
    keys: list[str] = []
    losses: list[tuple[float, ...]] = []
    for key, row in rows.items():
        if row.state != "COMPLETE":
            continue
        loss: tuple[float, ...] = (-float(row.facts["metrics"][objective]),)
        if second != "none":
            value = second_value(row, second)
            if value is None:
                continue
            loss = (*loss, value)
        keys.append(key)
        losses.append(loss)
    first = [i for i, rank in enumerate(ranks(losses)) if rank == 0]
    return [keys[i] for i in sorted(first, key=lambda i: (losses[i], int(keys[i])))]


def ranks(losses: Losses) -> list[int]:
    """For each trial how many fronts have to be taken off until it is in front itself."""
    array = np.asarray(losses, dtype=np.float64)
    rank = np.full(len(array), -1)
    current = 0
    while (left := np.flatnonzero(rank < 0)).size:
        points = array[left]
        no_worse = (points[:, None, :] <= points[None, :, :]).all(axis=2)  # (beater, beaten)
        better = (points[:, None, :] < points[None, :, :]).any(axis=2)
        beaten = (no_worse & better).any(axis=0)
        rank[left[~beaten]] = current
        current += 1
    return [int(r) for r in rank]


def crowding(losses: Losses) -> NDArray[np.float64]:
    """How alone each trial stands among its front: infinite at the ends, (n_trials,)."""
    array = np.asarray(losses, dtype=np.float64)
    distance = np.zeros(len(array))
    by_rank = np.asarray(ranks(losses))
    for rank in set(by_rank.tolist()):
        members = np.flatnonzero(by_rank == rank)
        for axis in range(array.shape[1]):
            order = members[np.argsort(array[members, axis], kind="stable")]
            values = array[order, axis]
            distance[order[[0, -1]]] = np.inf
            if values[-1] > values[0]:
                distance[order[1:-1]] += (values[2:] - values[:-2]) / (values[-1] - values[0])
    return distance
