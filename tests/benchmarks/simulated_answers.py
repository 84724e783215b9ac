"""Answers of a classifier in groups of alike recordings, with known calibration, simulated."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Drawn:
    """`proba` (n, n_classes), the true `labels` (n,) and `groups` (n,)."""

    proba: np.ndarray
    labels: np.ndarray
    groups: np.ndarray

    @property
    def confidence(self) -> np.ndarray:
        """(n,)."""
        return np.asarray(self.proba.max(axis=1), np.float64)

    @property
    def accuracy(self) -> float:
        """The true share of right answers."""
        return float(np.mean(self.proba.argmax(axis=1) == self.labels))


@dataclass(frozen=True)
class GroupedAnswers:
    """Draws answers; each group is harder or easier, and its confidence is off by its own amount.

    `overconfidence` is the mean by which confidence exceeds the chance of being right, `spread` its
    standard deviation over groups, `difficulty` that of the groups' mean confidence.
    """

    rng: np.random.Generator
    overconfidence: float = 0.0
    spread: float = 0.05
    difficulty: float = 0.08
    n_classes: int = 5

    def draw(self, *, n_groups: int, group_size: int, harder: float = 0.0) -> Drawn:
        """Answers of new groups, whose mean confidence is lower by `harder`."""
        rng, n = self.rng, n_groups * group_size
        groups = np.repeat(np.arange(n_groups), group_size)
        level = 0.8 - harder + rng.normal(0, self.difficulty, n_groups)[groups]
        confidence = np.clip(level + rng.normal(0, 0.12, n), 1 / self.n_classes + 0.01, 0.99)
        surplus = self.overconfidence + rng.normal(0, self.spread, n_groups)[groups]
        right = rng.random(n) < np.clip(confidence - surplus, 0, 1)
        predicted = rng.integers(0, self.n_classes, n)
        rest = (1 - confidence)[:, None] / (self.n_classes - 1)
        proba = np.repeat(rest, self.n_classes, axis=1)
        proba[np.arange(n), predicted] = confidence
        labels = np.where(right, predicted, (predicted + 1) % self.n_classes)
        return Drawn(proba, labels, groups)
