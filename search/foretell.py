"""What the test set will say, foretold from out-of-fold rows before it is opened.

An out-of-fold row is judged by one network of each member, the one that did not train on it; a test
row by the mean of all of them, one for each fold. A mean of more networks is better, so the
out-of-fold figure is too low by what averaging over folds brings. That cannot be seen out of fold,
but averaging over members can, and networks that differ in what they were trained on turn out to
differ about as much as those that differ in their configuration: the one takes away the same share
of the errors as the other.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from chorale.datasets.seeds import Purpose, generator
from chorale.lightning_models.metrics import Labels, Proba, accuracy

Score = Callable[[Proba], float]
"""Of probabilities (n, n_classes), between 0 and 1, the higher the better."""

MOST_SIZES, MOST_SUBSETS = 12, 40
"""So many sizes of subsets are looked at, and so many subsets of a size."""


@dataclass(frozen=True)
class Foretold:
    """`out_of_fold` is the accuracy there, `gain` what the mean over `n_folds` networks brings."""

    out_of_fold: float
    gain: float
    n_folds: int

    @property
    def accuracy(self) -> float:
        """What the test set is expected to say."""
        return self.out_of_fold + self.gain

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"accuracy": self.accuracy, **asdict(self)}


def foretell(
    chosen: float, members: Sequence[Proba], labels: Labels, *, n_folds: int, seed: int
) -> Foretold:
    """What an ensemble is expected to reach on unseen groups.

    Args:
        chosen: its accuracy out of fold.
        members: what each finalist said out of fold, (n, n_classes); with fewer than two nothing
            is known of averaging, and no gain is foretold.
        labels: (n,).
        n_folds: how many networks a member has.
        seed: of the subsets that are looked at.
    """
    share = averaging(members, lambda proba: accuracy(proba, labels), seed=seed)
    return Foretold(chosen, over_folds(chosen, share, n_folds=n_folds), n_folds)


def over_folds(score: float, share: float, *, n_folds: int) -> float:
    """What the mean over so many folds' networks adds to a score between 0 and 1.

    Args:
        score: of one network a member.
        share: of the errors, as `averaging` gives it.
        n_folds: how many networks a member has.
    """
    return (1 - score) * share * (1 - 1 / n_folds)


def averaging(members: Sequence[Proba], score: Score, *, seed: int) -> float:
    """The share of one network's errors that the mean of endlessly many would not make: 0 to 1.

    The score of the mean of m of them, over subsets of the members, is fitted by a straight line in
    1/m. For a squared error of networks that are alike that is exact; of accuracy it is what is
    seen, and too little where networks differ wildly.

    Source: Krogh and Vedelsby 1995, "Neural Network Ensembles, Cross Validation, and Active
    Learning" (the error of a mean is the mean error less its members' ambiguity).
    """
    n = len(members)
    if n < 2:
        return 0.0
    rng = generator(seed, Purpose.SUBSETS)
    sizes = np.unique(np.geomspace(1, n, MOST_SIZES).round().astype(int))
    means = []
    for size in sizes.tolist():
        each = [score(np.mean([members[i] for i in one], axis=0)) for one in _subsets(n, size, rng)]
        means.append(float(np.mean(each)))
    if means[0] >= 1:
        return 0.0
    slope = float(np.polyfit(1 / sizes, means, 1)[0])
    return min(1.0, max(0.0, -slope / (1 - means[0])))


def _subsets(n: int, size: int, rng: np.random.Generator) -> Sequence[Sequence[int]]:
    """All subsets of that size of `n` members; where there are more, `MOST_SUBSETS` drawn ones."""
    if math.comb(n, size) <= MOST_SUBSETS:
        return list(itertools.combinations(range(n), size))
    return [rng.choice(n, size, replace=False).tolist() for _ in range(MOST_SUBSETS)]
