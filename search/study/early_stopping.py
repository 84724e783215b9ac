"""Early stopping of the search: ends it when the ensemble of its best trials no longer improves.

A trial that is worse than the best can still help the ensemble, so the criterion is the log loss of
the soft vote of the best trials, on the search fold.
"""

from collections.abc import Callable, Iterable

import numpy as np

from chorale.datasets.errors import UserError
from chorale.lightning_models.metrics import log_loss
from chorale.search.ledger.ledger import Row

MAX_VOTE_MEMBERS = 8
"""The largest number of members of the vote."""

MIN_IMPROVEMENT = 1e-3
"""The least relative decrease of the log loss that counts as an improvement."""


class EnsembleEarlyStopping:
    """Tracks the log loss of the soft vote of the best trials so far.

    Args:
        labels: int64 (n_valid,), of the search fold's rows.
        patience: finished trials in a row without an improvement after which the search ends.
    """

    def __init__(self, labels: np.ndarray, *, patience: int) -> None:
        self._labels, self.patience = labels, patience
        self._best: list[tuple[float, int, np.ndarray]] = []
        self.log_loss = float("inf")
        """the lowest of any vote so far"""
        self.n_since = 0
        """finished trials since the last improvement"""

    @property
    def exhausted(self) -> bool:
        """Whether `patience` is used up."""
        return self.n_since >= self.patience

    def add(self, number: int, proba: np.ndarray | None) -> None:
        """Adds a finished trial; `proba` is (n_valid, n_classes) of a complete one, else None."""
        self.n_since += 1
        if proba is None:
            return
        mine = (log_loss(proba, self._labels), number, proba)
        self._best = sorted([*self._best, mine], key=lambda one: one[:2])[:MAX_VOTE_MEMBERS]
        if all(number != other for _, other, _ in self._best):
            return
        vote = self._vote()
        if vote < self.log_loss * (1 - MIN_IMPROVEMENT):
            self.log_loss, self.n_since = vote, 0

    def restore(self, rows: Iterable[Row], read: Callable[[int], np.ndarray]) -> list[str]:
        """Adds the trials of earlier sessions in order; `read` reads a trial's predictions.

        A complete trial whose predictions cannot be read does not count; returns a line for each.
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
        """The lowest log loss of the mean of the best k trials, over all k."""
        total = np.zeros_like(self._best[0][2], dtype=np.float64)
        losses = []
        for k, (_, _, proba) in enumerate(self._best, start=1):
            total += proba
            losses.append(log_loss(total / k, self._labels))
        return min(losses)
