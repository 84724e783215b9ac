"""One-vs-rest classifiers of several labels: a classifier of two classes for each label.

`search.baselines.classifiers` fits those that scikit-learn cannot fit on several labels at once;
`fitted_classifier.classifier_scores` predicts with their arrays.

Source: Rifkin and Klautau 2004, "In Defense of One-Vs-All Classification", JMLR 5.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.label_sets import is_known
from chorale.search.statistics.arrays import Floats, Labels

N_LABELS = "n_labels"
"""The array that marks one-vs-rest classifiers, and gives their number."""

_CONSTANT = "log_odds"
"""The array of a label that all training rows have, or none."""

NamedArrays = Mapping[str, NDArray[Any]]


def fit_each(fit: Callable[[NDArray[np.bool_], Labels], NamedArrays], y: Labels) -> NamedArrays:
    """Fits a classifier for each column of `y` (n, n_classes), as named arrays.

    Arrays that all fitted classifiers share (the standardization) are kept once.

    Args:
        fit: fits a classifier on the rows of a mask (n,) with labels of 0 and 1, both of which
            occur.
        y: 0, 1 and `UNKNOWN`; a label's classifier is fitted on the rows where it is known.
    """
    each: list[NamedArrays] = []
    for truth, known in zip(y.T, is_known(y).T, strict=True):
        n, n_known = int((truth[known] > 0).sum()), int(known.sum())
        if 0 < n < n_known:
            each.append(fit(known, truth[known].astype(np.int64)))
        else:
            each.append({_CONSTANT: np.array([np.log((n + 0.5) / (n_known - n + 0.5))])})
    fitted = [one for one in each if _CONSTANT not in one]
    first = fitted[0] if fitted else {}
    shared = {name: one for name, one in first.items() if _all_have(fitted, name, one)}
    own = {
        f"{i}.{name}": one
        for i, arrays in enumerate(each)
        for name, one in arrays.items()
        if name not in shared
    }
    return {N_LABELS: np.array([len(each)]), **shared, **own}


def score_each(
    arrays: NamedArrays, score: Callable[[NamedArrays], Floats], *, n_rows: int
) -> Floats:
    """The log-odds of each label, (n_rows, n_classes).

    Args:
        arrays: as `fit_each` gave them.
        score: gives the scores (n_rows, 2) of a classifier of two classes by its arrays.
        n_rows: the number of rows.
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
    return np.stack([np.broadcast_to(column, n_rows) for column in columns], axis=1)


def _all_have(each: Sequence[NamedArrays], name: str, value: NDArray[Any]) -> bool:
    return all(name in one and np.array_equal(one[name], value) for one in each)
