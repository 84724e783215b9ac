"""The scikit-learn classifiers behind the baselines: parameter grids, one fit, its expected time.

`search.baselines.grid_search` distributes `fit_and_score` over worker processes; its arguments and
results can be pickled.

Source: Cox 1958, "The Regression Analysis of Binary Sequences"; Cortes and Vapnik 1995,
"Support-Vector Networks"; Cover and Hart 1967, "Nearest Neighbor Pattern Classification";
Rumelhart, Hinton and Williams 1986, "Learning representations by back-propagating errors"; Breiman
2001, "Random Forests"; Geurts, Ernst and Wehenkel 2006, "Extremely randomized trees"; Friedman
2001, "Greedy Function Approximation: A Gradient Boosting Machine", on histograms as in Ke et al.
2017, "LightGBM"; all as in scikit-learn (Pedregosa et al. 2011).
"""

import math
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.label_sets import is_known, without_classes
from chorale.search.baselines.fitted_classifier import (
    ClassifierArrays,
    classifier_arrays,
    classifier_scores,
)
from chorale.search.baselines.one_vs_rest import fit_each
from chorale.search.baselines.track_statistics import StatisticsLayout
from chorale.search.baselines.wide_rows import fit_wide
from chorale.search.native_threads import single_thread
from chorale.search.statistics.arrays import Floats, Labels

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
    "multilayer_perceptron": {"statistics": ("differences", "thirds"), "alpha": (3.0, 0.1)},
    "random_forest": {"statistics": ("thirds",), "n_trees": (100,)},
    "extra_trees": {"statistics": ("thirds",), "n_trees": (200,)},
    "gradient_boosting": {"statistics": ("thirds",), "n_rounds": (40,)},
}
"""Classifier -> parameter -> values, simpler models first."""

LINEAR = 0.0
"""The `gamma_times_columns` that stands for an SVM with a linear kernel, tried on embeddings."""

POOLING_SEARCHED = ("logistic_regression", "svm", "knn")
"""Classifiers whose pooling over time is searched on embeddings; others read the mean."""

ON_EVERY_EMBEDDING = ("logistic_regression", "svm")
"""Classifiers that are fitted on every feature set of embeddings, not only on the chosen one."""

SEVERAL_LABELS = ("knn", "multilayer_perceptron", "random_forest", "extra_trees")
"""Classifiers that are fitted on several labels at once; the others are one-vs-rest. Where labels
are unknown, all are one-vs-rest, each label's classifier fitted on the rows where it is known."""

N_HIDDEN, MLP_BATCH_SIZE, N_MLP_STEPS = 128, 32, 2_000
"""Of the multilayer perceptron: units, rows per step, and about how many steps it is trained."""
MIN_MLP_EPOCHS, MAX_MLP_EPOCHS = 20, 300


@dataclass(frozen=True)
class BaselineData:
    """Statistics `x` (n, n_columns), labels `y` and folds (n,) of the development tracks.

    Labels are (n,), or (n, n_classes) of 0, 1 and `UNKNOWN` where tracks have several; of these
    the columns `unscored` are only trained on.

    `x_test` (n_test, n_columns) are the statistics of the test tracks. The first `n_scored` rows
    are predicted out of fold; the others are only trained on, except by the fold that they name
    (see `Split.train_only`). With `by_time` a fold is trained on the rows of higher folds.
    """

    x: NDArray[np.float32]
    y: Labels
    fold: Labels
    x_test: NDArray[np.float32]
    n_classes: int
    n_scored: int
    by_time: bool = False
    unscored: tuple[int, ...] = ()

    @cached_property
    def scored_y(self) -> Labels:
        """The labels by which parameters are chosen: those that are not scored are unknown."""
        return without_classes(self.y, self.unscored)

    @property
    def folds(self) -> Labels:
        """The numbers of the folds that have a row."""
        return np.unique(self.fold[: self.n_scored])

    @property
    def n_folds(self) -> int:
        """The number of folds that have a row."""
        return len(self.folds)

    @property
    def scored(self) -> NDArray[np.bool_]:
        """A mask (n,) of the rows that are predicted out of fold."""
        return np.arange(len(self.y)) < self.n_scored

    def train_rows(self, fold: int) -> NDArray[np.bool_]:
        """A mask (n,) of the rows that are trained on to predict `fold`."""
        return self.fold > fold if self.by_time else self.fold != fold

    def valid_rows(self, fold: int) -> NDArray[np.bool_]:
        """A mask (n,) of the rows of a fold that are predicted."""
        in_fold: NDArray[np.bool_] = self.fold == fold
        return self.scored & in_fold


@dataclass(frozen=True)
class FitJob:
    """One fit of classifier `name` with `params` on `x` (n, n_columns) and labels `y`.

    It then scores `x_new` (n_new, n_columns). `n_classes` counts all classes, also those without a
    training row.
    """

    name: str
    params: Mapping[str, Any]
    x: NDArray[np.float32]
    y: Labels
    x_new: NDArray[np.float32]
    n_classes: int
    seed: int
    is_final: bool = False
    """trained on all development rows; its result includes the fitted arrays"""
    pooled: bool = False
    """rows are pooled vectors of an embedding, which `wide_rows` fits faster"""


@dataclass(frozen=True)
class FitResult:
    """`scores` (n_new, n_classes), wall time, and the fitted arrays if the fit was final.

    `cpu_s` is the time of the processor in `took_s`, which other programs may have used as well.
    """

    scores: Floats
    took_s: float
    arrays: ClassifierArrays | None
    cpu_s: float = 0.0


def fit_and_score(job: FitJob) -> FitResult:
    """Fits a classifier with one thread, so that many can run in parallel, and scores `x_new`."""
    n_columns = job.x.shape[1]
    make_classifier(job.name, job.params, n_rows=len(job.x), n_columns=n_columns, seed=job.seed)
    # not earlier: the first line imports scikit-learn
    began, began_cpu = time.perf_counter(), time.process_time()
    x = job.x.astype(np.float64)

    def fit(rows: NDArray[np.bool_] | slice, y: Labels) -> ClassifierArrays:
        n = len(y)
        params = {key: min(value, n) if key == "k" else value for key, value in job.params.items()}
        made = make_classifier(job.name, params, n_rows=n, n_columns=n_columns, seed=job.seed)
        return fit_wide(made, x[rows], y) if job.pooled else classifier_arrays(made.fit(x[rows], y))

    with single_thread(), warnings.catch_warnings():
        # a multilayer perceptron trains for a set number of epochs
        warnings.filterwarnings("ignore", "Stochastic Optimizer: Maximum iterations")
        at_once = not is_one_vs_rest(job.name, job.y)
        arrays = fit(slice(None), job.y) if at_once else fit_each(fit, job.y)
        scores = classifier_scores(arrays, job.x_new, n_classes=job.n_classes)
    took_s, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
    return FitResult(scores, took_s, arrays if job.is_final else None, cpu_s)


def is_one_vs_rest(name: str, y: Labels) -> bool:
    """Whether a classifier is fitted on each label by itself: see `SEVERAL_LABELS`."""
    return y.ndim == 2 and (name not in SEVERAL_LABELS or not bool(is_known(y).all()))


def n_mlp_epochs(n_rows: int) -> int:
    """The epochs of the multilayer perceptron: many on few rows, few on many."""
    wanted = math.ceil(N_MLP_STEPS * MLP_BATCH_SIZE / n_rows)
    return min(MAX_MLP_EPOCHS, max(MIN_MLP_EPOCHS, wanted))


def make_classifier(
    name: str, params: Mapping[str, Any], *, n_rows: int, n_columns: int, seed: int
) -> Any:
    """An unfitted scikit-learn classifier for data of that shape."""
    # imported here: neither reports nor bundles need scikit-learn
    from sklearn.ensemble import (
        ExtraTreesClassifier,
        HistGradientBoostingClassifier,
        RandomForestClassifier,
    )
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    if name == "random_forest":
        return RandomForestClassifier(params["n_trees"], random_state=seed)
    if name == "extra_trees":
        return ExtraTreesClassifier(params["n_trees"], random_state=seed)
    if name == "gradient_boosting":
        # small trees of few columns each: the data have hundreds of tracks and as many columns
        return HistGradientBoostingClassifier(
            max_iter=params["n_rounds"], learning_rate=0.15, max_depth=3, max_features=0.2,
            min_samples_leaf=10, early_stopping=False, random_state=seed,
        )  # fmt: skip
    classifier: Any
    if name == "logistic_regression":
        classifier = LogisticRegression(C=params["C"], max_iter=2000)
    elif name == "multilayer_perceptron":
        classifier = MLPClassifier(
            (N_HIDDEN,), alpha=params["alpha"], batch_size=min(MLP_BATCH_SIZE, n_rows),
            max_iter=(n_epochs := n_mlp_epochs(n_rows)), tol=0.0, n_iter_no_change=n_epochs,
            random_state=seed,
        )  # fmt: skip
    elif name == "knn":
        classifier = KNeighborsClassifier(params["k"], weights="distance")
    elif params["gamma_times_columns"] == LINEAR:  # C / n_columns: as if products were averaged
        classifier = SVC(C=params["C"] / n_columns, kernel="linear", cache_size=500)
    else:
        gamma = params["gamma_times_columns"] / n_columns
        classifier = SVC(C=params["C"], gamma=gamma, cache_size=500)
    return make_pipeline(StandardScaler(), classifier)


def grid_of(name: str, layout: StatisticsLayout, *, n_train: int) -> list[dict[str, Any]]:
    """The parameter grid of a classifier, limited to what fits the features and the data's size.

    Args:
        name: of the classifier.
        layout: of the features. Where they lack all statistics that a classifier names, it reads
            the largest set that there is; `svm_thirds`, which would then equal `svm`, has no grid.
            Embeddings have their own: see `POOLING_SEARCHED`; their SVM may be `LINEAR`.
        n_train: the fewest rows that a classifier is trained on.
    """
    choices = GRIDS[name]
    named = [one for one in choices["statistics"] if one in layout.choices]
    if name == "svm_thirds" and not named:
        return []
    chosen = {**choices, "statistics": tuple(named) or layout.choices[-1:]}
    if layout.is_embedding:
        chosen["statistics"] = layout.choices[: None if name in POOLING_SEARCHED else 1]
        if name == "svm":
            chosen["gamma_times_columns"] = (LINEAR, *choices["gamma_times_columns"])
    points = [dict(zip(chosen, values, strict=True)) for values in product(*chosen.values())]
    # there cannot be more neighbours than training rows
    return [point for point in points if point.get("k", 1) <= n_train]


def middle_point(grid: list[dict[str, Any]]) -> int:
    """The index of the point in the middle of every parameter's values, which is fitted first.

    Of pooled vectors it is the mean's, which has half as many columns as the others.
    """
    return _middle_of(grid, list(range(len(grid))), list(grid[0]))


def _middle_of(grid: list[dict[str, Any]], among: list[int], names: list[str]) -> int:
    if not names:
        return among[0]
    values = list(dict.fromkeys(grid[i][names[0]] for i in among))
    middle = values[0] if values[0] == "mean" else values[len(values) // 2]
    return _middle_of(grid, [i for i in among if grid[i][names[0]] == middle], names[1:])
