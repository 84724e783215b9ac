"""The classical classifiers behind the baselines: their parameters, one fit, and what it costs.

`search.baselines.baselines` spreads `fit` over worker processes; everything here can be pickled.

Source: Cox 1958, "The Regression Analysis of Binary Sequences"; Cortes and Vapnik 1995,
"Support-Vector Networks"; Cover and Hart 1967, "Nearest Neighbor Pattern Classification";
Breiman 2001, "Random Forests"; Friedman 2001, "Greedy Function Approximation: A Gradient Boosting
Machine", on histograms as in Ke et al. 2017, "LightGBM"; all as in scikit-learn
(Pedregosa et al. 2011).
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorale.search.baselines.fitted_classifier import Arrays, arrays_of, scores_of
from chorale.search.baselines.track_statistics import Description

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

GRIDS: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "logistic_regression": {
        "statistics": ("mean_std", "differences", "thirds"),
        "C": (0.01, 0.1, 1.0),
    },
    "svm": {
        "statistics": ("mean_std", "differences"),
        "gamma_times_columns": (0.1, 0.3, 1.0),
        "C": (1.0, 10.0),
    },
    "svm_thirds": {
        "statistics": ("thirds",),
        "gamma_times_columns": (0.1, 0.3, 1.0),
        "C": (1.0, 10.0),
    },
    "knn": {"statistics": ("mean_std", "differences", "thirds"), "k": (31, 15, 7, 3, 1)},
    "random_forest": {"statistics": ("thirds",), "n_trees": (100,)},
    "gradient_boosting": {"statistics": ("thirds",), "n_rounds": (40,)},
}
"""Classifier -> parameter -> values, simpler models first."""


@dataclass(frozen=True)
class Rows:
    """Statistics (n, n_columns), labels (n,) and folds (n,) of the development tracks; test's."""

    x: NDArray[np.float32]
    y: Ints
    fold: Ints
    x_test: NDArray[np.float32]
    n_classes: int

    @property
    def n_folds(self) -> int:
        """How many folds have a row."""
        return len(np.unique(self.fold))


@dataclass(frozen=True)
class Fit:
    """One training: of `name` with `params` on `x` (n, n_columns), `y` (n,), then asked of `x_new`.

    `n_classes` counts all classes, also those without a training row.
    """

    name: str
    params: Mapping[str, Any]
    x: NDArray[np.float32]
    y: Ints
    x_new: NDArray[np.float32]
    n_classes: int
    seed: int
    is_last: bool = False
    """on all development rows: its arrays are wanted, too"""


@dataclass(frozen=True)
class FitResult:
    """`scores` (n_new, n_classes), `took_s` of wall time, and the arrays of a last fit."""

    scores: Floats
    took_s: float
    arrays: Arrays | None


def fit(job: Fit) -> FitResult:
    """Trains with one thread, so that many can do so side by side, and scores the new rows."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    fitted = make(job.name, job.params, n_columns=job.x.shape[1], seed=job.seed)
    began = time.perf_counter()  # not before: the first fit of a process imports scikit-learn
    with threadpool_limits(limits=1):
        fitted.fit(job.x.astype(np.float64), job.y)
        arrays = arrays_of(fitted)
        scores = scores_of(arrays, job.x_new, n_classes=job.n_classes)
    took_s = time.perf_counter() - began
    return FitResult(scores, took_s, arrays if job.is_last else None)


def make(name: str, params: Mapping[str, Any], *, n_columns: int, seed: int) -> Any:
    """A classifier of scikit-learn that is not fitted yet."""
    # Imported here: who only draws a report or asks a bundle does not wait for it.
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    if name == "random_forest":
        return RandomForestClassifier(params["n_trees"], random_state=seed)
    if name == "gradient_boosting":
        # small trees of few columns each: hundreds of tracks, as many columns
        return HistGradientBoostingClassifier(
            max_iter=params["n_rounds"], learning_rate=0.15, max_depth=3, max_features=0.2,
            min_samples_leaf=10, early_stopping=False, random_state=seed,
        )  # fmt: skip
    classifier: Any
    if name == "logistic_regression":
        classifier = LogisticRegression(C=params["C"], max_iter=2000)
    elif name == "knn":
        classifier = KNeighborsClassifier(params["k"], weights="distance")
    else:
        gamma = params["gamma_times_columns"] / n_columns
        classifier = SVC(C=params["C"], gamma=gamma, cache_size=500)
    return make_pipeline(StandardScaler(), classifier)


def grid_of(name: str, description: Description, *, n_least: int) -> list[dict[str, Any]]:
    """All combinations of a classifier's values that fit the features and the number of rows.

    Args:
        name: of the classifier.
        description: of the features; where they lack the statistics that a classifier names, it
            reads the largest that there are, but one that differs in nothing else is left out.
        n_least: the fewest rows that a classifier is trained on.
    """
    choices = GRIDS[name]
    named = [one for one in choices["statistics"] if one in description.choices]
    if name == "svm_thirds" and not named:
        return []
    chosen = {**choices, "statistics": tuple(named) or description.choices[-1:]}
    points = [dict(zip(chosen, values, strict=True)) for values in product(*chosen.values())]
    # a few tracks cannot have more neighbours than there are tracks
    return [point for point in points if point.get("k", 1) <= n_least]


def first_of(grid: list[dict[str, Any]]) -> int:
    """Which point is tried first: the one in the middle of every parameter's values."""
    return _middle(grid, list(range(len(grid))), list(grid[0]))


def _middle(grid: list[dict[str, Any]], among: list[int], names: list[str]) -> int:
    if not names:
        return among[0]
    values = list(dict.fromkeys(grid[i][names[0]] for i in among))
    middle = values[len(values) // 2]
    return _middle(grid, [i for i in among if grid[i][names[0]] == middle], names[1:])


def expected_s(name: str, *, n_rows: int, n_new: int, n_columns: int, n_classes: int) -> float:
    """About how many seconds one fit takes, on one core of 2024.

    It only ranks what is tried first and guards against what would never end; how long a classifier
    really takes is measured by its first fits.
    """
    if name == "logistic_regression":
        return 0.03 + 3e-8 * n_rows * n_columns * n_classes
    if name == "knn":
        return 0.01 + 3e-10 * n_rows * n_new * n_columns
    if name == "random_forest":
        return 0.5 + 7e-6 * n_rows * math.log2(n_rows + 1) * math.sqrt(n_columns)
    if name == "gradient_boosting":
        return 40 * n_classes * (3e-3 + 7e-9 * n_rows * n_columns)
    return 0.01 + 8e-10 * n_rows**2 * n_columns
