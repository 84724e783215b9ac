"""One-vs-rest classifiers of several labels: a classifier of two classes for each label.

`search.baselines.classifiers` fits those that scikit-learn cannot fit on several labels at once;
`fitted_classifier.classifier_scores` predicts with their arrays.

Source: Rifkin and Klautau 2004, "In Defense of One-Vs-All Classification", JMLR 5.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorale.search.statistics.arrays import Floats, Labels

N_LABELS = "n_labels"
"""The array that marks one-vs-rest classifiers, and gives their number."""

_CONSTANT = "log_odds"
"""The array of a label that all training rows have, or none."""

LabelArrays = Mapping[str, NDArray[Any]]


def fit_each(fit: Callable[[Labels], LabelArrays], y: Labels) -> LabelArrays:
    """Fits a classifier for each column of `y` (n, n_classes), as named arrays.

    Arrays that all labels share (the standardization, rows of neighbours) are kept once.

    Args:
        fit: fits a classifier on labels (n,) of 0 and 1, both of which occur.
        y: 0 and 1.
    """
    each: list[LabelArrays] = []
    for truth in y.T:
        n = int(truth.sum())
        if 0 < n < len(truth):
            each.append(fit(truth.astype(np.int64)))
        else:
            each.append({_CONSTANT: np.array([np.log((n + 0.5) / (len(truth) - n + 0.5))])})
    n_fitted = sum(_CONSTANT not in one for one in each)
    found: dict[str, NDArray[Any]] = {N_LABELS: np.array([len(each)])}
    for name in {name: None for one in each for name in one}:
        values = [one[name] for one in each if name in one]
        if len(values) == n_fitted and _all_equal(values):
            found[name] = values[0]
        else:
            found |= {f"{i}.{name}": one[name] for i, one in enumerate(each) if name in one}
    return found


def score_each(arrays: LabelArrays, score: Callable[[LabelArrays], Floats]) -> Floats:
    """The log-odds of each label, (n, n_classes).

    Args:
        arrays: as `fit_each` gave them.
        score: gives the scores (n, 2) of a classifier of two classes by its arrays.
    """
    n_labels = int(arrays[N_LABELS][0])
    shared = {name: one for name, one in arrays.items() if "." not in name and name != N_LABELS}
    own: list[dict[str, NDArray[Any]]] = [{} for _ in range(n_labels)]
    for name, one in arrays.items():
        label, _, rest = name.partition(".")
        if rest:
            own[int(label)][rest] = one
    columns = [
        mine[_CONSTANT] if _CONSTANT in mine else np.diff(score({**shared, **mine}))[:, 0]
        for mine in own
    ]
    n_rows = max(len(column) for column in columns)
    return np.stack([np.broadcast_to(column, n_rows) for column in columns], axis=1)


def _all_equal(values: Sequence[NDArray[Any]]) -> bool:
    return all(np.array_equal(values[0], other) for other in values[1:])
