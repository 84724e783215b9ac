"""Whether the ensemble over the bank still improves: what may end a search early.

A trial that is no better than the best can still help the ensemble, so it is the ensemble that is
watched: the soft vote of the best few trials, on the rows that validate the search.
"""

from collections.abc import Callable, Iterable

import numpy as np

from chorale.datasets.errors import UserError
from chorale.lightning_models.metrics import log_loss
from chorale.search.ledger.ledger import Row

N_MEMBERS = 8
"""The most members of the vote."""

LEAST = 1e-3
"""An improvement is a log loss that is lower by this share at least."""


class EnsembleWatch:
    """Watches the log loss of the soft vote over the best trials so far.

    Args:
        labels: int64 (n_valid,), of the rows that the search is validated on.
        patience: so many finished trials in a row without an improvement are enough.
    """

    def __init__(self, labels: np.ndarray, *, patience: int) -> None:
        self._labels, self.patience = labels, patience
        self._best: list[tuple[float, int, np.ndarray]] = []
        self.log_loss = float("inf")
        """the lowest that a vote has reached"""
        self.n_since = 0
        """finished trials since the last improvement"""

    @property
    def exhausted(self) -> bool:
        """Whether patience has come to its end."""
        return self.n_since >= self.patience

    def add(self, number: int, proba: np.ndarray | None) -> None:
        """Another trial has finished; `proba` (n_valid, n_classes) of a complete one, else None."""
        self.n_since += 1
        if proba is None:
            return
        mine = (log_loss(proba, self._labels), number, proba)
        self._best = sorted([*self._best, mine], key=lambda one: one[:2])[:N_MEMBERS]
        if all(number != other for _, other, _ in self._best):
            return
        vote = self._vote()
        if vote < self.log_loss * (1 - LEAST):
            self.log_loss, self.n_since = vote, 0

    def restore(self, rows: Iterable[Row], read: Callable[[int], np.ndarray]) -> list[str]:
        """Adds the trials of earlier sittings in order; `read` gives a trial's predictions.

        A complete trial whose predictions cannot be read may have helped or not, so it does not
        count at all; gives a line for each of them.
        """
        lines = []
        for row in sorted(rows, key=lambda row: int(row.key)):
            if row.state == "FAIL":
                continue
            proba = None
            if row.state == "COMPLETE":
                try:
                    proba = read(int(row.key))
                except UserError as error:
                    lines.append(f"budget.patience does not count trial {row.key}: {error}")
                    continue
            self.add(int(row.key), proba)
        return lines

    def _vote(self) -> float:
        """The lowest log loss of the mean of the best k, over all k."""
        total = np.zeros_like(self._best[0][2], dtype=np.float64)
        losses = []
        for k, (_, _, proba) in enumerate(self._best, start=1):
            total += proba
            losses.append(log_loss(total / k, self._labels))
        return min(losses)
