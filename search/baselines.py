"""Classical classifiers on statistics of the same tracks and folds: the bar for every network.

A sweep that does not beat them has found nothing; `search.judge` puts their scores beside its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from chorale.datasets.feature_store import FeatureStore
from chorale.datasets.split import Split

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BLOCKS = {"mean_std": 2, "differences": 4, "thirds": 7}
"""How many of the blocks of `statistics`, n_bins columns each, a classifier reads."""
TABLE = "table"
"""What it reads of a table, whose columns are statistics already: all of them."""

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
"""Classifier -> parameter -> values, simpler models first.

Source: Cox 1958, "The Regression Analysis of Binary Sequences"; Cortes and Vapnik 1995,
"Support-Vector Networks"; Cover and Hart 1967, "Nearest Neighbor Pattern Classification";
Breiman 2001, "Random Forests"; Friedman 2001, "Greedy Function Approximation: A Gradient Boosting
Machine", on histograms as in Ke et al. 2017, "LightGBM"; all as in scikit-learn
(Pedregosa et al. 2011).
"""

MAX_BINS = 40
N_CEPSTRA = 20
"""Wider features than `MAX_BINS` (a mel spectrogram) are read as that many cepstral coefficients:
neighbouring bands say the same, and hundreds of columns cost minutes."""

SMALLEST_PROBA = 1e-3
"""Votes of trees and neighbours that are 0 count as this, since none of them is ever that sure."""


@dataclass(frozen=True)
class Baseline:
    """One classifier with the parameters that did best out of fold, and what it says.

    `oof_proba` is float32 (n_development, n_classes), in the order of `split.development_ids`,
    each row by a model that was trained on the other folds, whose parameters and temperature were
    chosen on the other folds, too: they may differ from `params`. `test_proba` is float32
    (n_test, n_classes), in the order of `split.test_ids`, by one trained on all development rows.
    """

    name: str
    params: Mapping[str, Any]
    oof_proba: NDArray[np.float32]
    test_proba: NDArray[np.float32]


def statistics(store: FeatureStore, rows: Ints) -> Floats:
    """What describes a track regardless of its length: (n, 7 * n_bins), see also `MAX_BINS`.

    For each bin the mean and the standard deviation over time, then both of the difference from
    one frame to the next (0 for a track of one frame), then the means of the track's three thirds.
    Of a table (n, n_bins): the mean of a track's rows.

    Args:
        store: cached features.
        rows: which tracks, in the order wanted.

    Source: after Tzanetakis and Cook 2002, "Musical Genre Classification of Audio Signals",
    doi:10.1109/TSA.2002.800560.
    """
    if not store.frame_rate_hz:
        return _of_table(store, rows)
    is_wide = store.n_bins > MAX_BINS
    found = np.zeros((len(rows), BLOCKS["thirds"], N_CEPSTRA if is_wide else store.n_bins))
    for i, row in enumerate(rows):
        frames = store.frames[store.offsets[row] : store.offsets[row + 1]].astype(np.float64)
        if is_wide:
            frames = dct(frames, norm="ortho", axis=1)[:, :N_CEPSTRA]
        found[i, :2] = frames.mean(axis=0), frames.std(axis=0)
        if len(frames) > 1:
            steps = np.diff(frames, axis=0)
            found[i, 2:4] = steps.mean(axis=0), steps.std(axis=0)
        # a track of fewer than three frames repeats them
        edges = np.linspace(0, len(frames), 4).astype(int)
        found[i, 4:] = [frames[a : max(b, a + 1)].mean(axis=0) for a, b in pairwise(edges)]
    return found.reshape(len(rows), -1)


def _of_table(store: FeatureStore, rows: Ints) -> Floats:
    """The mean of a track's rows, and nothing else: they follow one another in no order."""
    begin, end = store.offsets[rows], store.offsets[rows + 1]
    means = [store.frames[a:b].mean(axis=0) for a, b in zip(begin, end, strict=True)]
    return np.asarray(means, np.float64)


def run_baselines(
    store: FeatureStore, *, labels: Ints, split: Split, seed: int = 0
) -> list[Baseline]:
    """Fits each classifier of `GRIDS`.

    Parameters are chosen by out-of-fold accuracy on the development rows, equal ones by the order
    of the grid, in which simpler models come first; for what is said of a fold, without that fold,
    or the best of a few would look a little too good. The test rows have no part in any choice.

    Args:
        store: features whose statistics are read.
        labels: the class index of each row of `store`.
        split: the folds and the test set.
        seed: of the forest and of the boosted trees.

    Raises:
        UserError: a track of the split is not in the store.
    """
    development, test = store.rows(split.development_ids), store.rows(split.test_ids)
    is_table = not store.frame_rate_hz
    rows = Rows(
        statistics(store, development),
        labels[development],
        np.array([split.fold_of[track] for track in split.development_ids]),
        statistics(store, test),
        n_classes=int(labels.max()) + 1,
    )
    return [_best(name, grid, rows, seed=seed) for name, grid in grids(is_table=is_table).items()]


def grids(*, is_table: bool) -> dict[str, list[dict[str, Any]]]:
    """Classifier -> all combinations of its parameters; a table has but one kind of statistics."""
    made: dict[str, list[dict[str, Any]]] = {}
    for name, choices in GRIDS.items():
        if is_table and name == "svm_thirds":
            continue
        chosen = {**choices, "statistics": (TABLE,)} if is_table else choices
        made[name] = [
            dict(zip(chosen, values, strict=True)) for values in product(*chosen.values())
        ]
    return made


@dataclass(frozen=True)
class Rows:
    """Statistics (n, n_columns), labels (n,) and folds (n,) of the development tracks; test's."""

    x: Floats
    y: Ints
    fold: Ints
    x_test: Floats
    n_classes: int

    def read(self, what: str) -> "Rows":
        """The same tracks with the first blocks of statistics only."""
        if what == TABLE:
            return self
        n_columns = self.x.shape[1] * BLOCKS[what] // BLOCKS["thirds"]
        return replace(self, x=self.x[:, :n_columns], x_test=self.x_test[:, :n_columns])


def _best(name: str, grid: list[dict[str, Any]], rows: Rows, *, seed: int) -> Baseline:
    """The grid's best, refitted on all development rows."""
    # a few tracks cannot have more neighbours than there are tracks
    n_least = len(rows.y) - int(np.bincount(rows.fold).max())
    grid = [params for params in grid if params.get("k", 1) <= n_least]
    outs = np.stack([_out_of_fold(name, params, rows, seed=seed) for params in grid])
    best = _choice(outs, rows.y)
    out, params = outs[best], grid[best]
    read = rows.read(params["statistics"])
    model = _model(name, params, n_columns=read.x.shape[1], seed=seed).fit(read.x, read.y)
    test = _class_scores(model, read.x_test, n_classes=rows.n_classes)
    temperature = _temperature(out, rows.y)
    return Baseline(
        name,
        params,
        _held_out(outs, rows).astype(np.float32),
        softmax(test / temperature, axis=1).astype(np.float32),
    )


def _choice(outs: Floats, y: Ints) -> int:
    """Which of the scores (n_params, n, n_classes) name most rows rightly."""
    return int(np.argmax((outs.argmax(axis=2) == y).mean(axis=1)))


def _held_out(outs: Floats, rows: Rows) -> Floats:
    """Probabilities (n, n_classes) of each fold by what is best on the others."""
    proba = np.zeros(outs.shape[1:])
    for fold in np.unique(rows.fold):
        out = rows.fold == fold
        scores = outs[_choice(outs[:, ~out], rows.y[~out])]
        temperature = _temperature(scores[~out], rows.y[~out])
        proba[out] = softmax(scores[out] / temperature, axis=1)
    return proba


def _model(name: str, params: Mapping[str, Any], *, n_columns: int, seed: int) -> Any:
    """A classifier that is not fitted yet."""
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


def _out_of_fold(name: str, params: Mapping[str, Any], rows: Rows, *, seed: int) -> Floats:
    """Class scores (n, n_classes) of each row by a model that was trained on the other folds."""
    rows = rows.read(params["statistics"])
    scores = np.zeros((len(rows.y), rows.n_classes))
    for held_out in np.unique(rows.fold):
        valid = rows.fold == held_out
        model = _model(name, params, n_columns=rows.x.shape[1], seed=seed)
        model.fit(rows.x[~valid], rows.y[~valid])
        scores[valid] = _class_scores(model, rows.x[valid], n_classes=rows.n_classes)
    return scores


def _class_scores(model: Any, x: Floats, *, n_classes: int) -> Floats:
    """Scores (n, n_classes) whose highest is the model's own decision."""
    if hasattr(model, "decision_function"):
        found = np.asarray(model.decision_function(x))
        if found.ndim == 1:
            found = np.stack([-found / 2, found / 2], axis=1)
    else:
        found = np.log(np.maximum(model.predict_proba(x), SMALLEST_PROBA))
    # a class that no training row had gets the lowest score of all
    scores = np.full((len(x), n_classes), found.min())
    scores[:, model.classes_] = found
    return scores


def _temperature(scores: Floats, y: Ints) -> float:
    """What to divide scores by so that their softmax is as likely as can be; order stays.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599.
    """

    def loss(log_temperature: float) -> float:
        log_proba = log_softmax(scores / np.exp(log_temperature), axis=1)
        return -float(log_proba[np.arange(len(y)), y].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-5.0, 5.0), method="bounded").x))
