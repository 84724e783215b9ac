"""Fitted classifiers as plain arrays: what they say without scikit-learn, and kept without pickle.

`search.baselines.classifiers` fits them; a bundle that holds a baseline predicts by `scores_of`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Arrays = Mapping[str, NDArray[Any]]

SMALLEST_PROBA = 1e-3
"""Votes of trees and neighbours that are 0 count as this, since none of them is ever that sure."""
ROWS_AT_ONCE = 256
"""Bounds the memory of distances to all training rows."""


def arrays_of(fitted: Any) -> Arrays:
    """All that a classifier of `search.baselines.classifiers.make` knows.

    `kind` (its bytes), `classes`, and, where columns are standardised, their `mean` and `scale`.
    """
    steps = [step for _, step in fitted.steps] if hasattr(fitted, "steps") else [fitted]
    model = steps[-1]
    kind = type(model).__name__
    found = {"kind": np.frombuffer(kind.encode(), np.uint8), "classes": model.classes_}
    if len(steps) > 1:
        found |= {"mean": steps[0].mean_, "scale": steps[0].scale_}
    return {**found, **KINDS[kind].read(model)}


def scores_of(arrays: Arrays, x: NDArray[Any], *, n_classes: int) -> Floats:
    """Scores (n, n_classes) of rows (n, n_columns) whose highest is the classifier's own decision.

    Of a classifier that knows probabilities alone they are logarithms. A class that no training row
    had gets the row's lowest score.
    """
    kind = KINDS[bytes(arrays["kind"]).decode()]
    x = standardised(arrays, x)
    parts = [x[i : i + ROWS_AT_ONCE] for i in range(0, len(x), ROWS_AT_ONCE)]
    found = np.concatenate([kind.scores(arrays, part) for part in parts])
    if found.shape[1] == 1:  # two classes, and how much it is the second
        found = np.concatenate([-found / 2, found / 2], axis=1)
    scores = np.repeat(found.min(axis=1, keepdims=True), n_classes, axis=1)
    scores[:, arrays["classes"]] = found
    return scores


def standardised(arrays: Arrays, x: NDArray[Any]) -> Floats:
    """The rows as the classifier reads them."""
    x = x.astype(np.float64)
    return (x - arrays["mean"]) / arrays["scale"] if "mean" in arrays else x


@dataclass(frozen=True)
class Kind:
    """How a classifier is read into arrays, and what these say of rows: (n, n_classes or 1)."""

    read: Callable[[Any], Arrays]
    scores: Callable[[Arrays, Floats], Floats]


def _read_linear(model: Any) -> Arrays:
    return {"slopes": model.coef_, "intercepts": model.intercept_}


def _linear(arrays: Arrays, x: Floats) -> Floats:
    return np.asarray(x @ arrays["slopes"].T + arrays["intercepts"])


def _read_svm(model: Any) -> Arrays:
    return {
        "vectors": model.support_vectors_,
        "n_vectors": model.n_support_,
        "coefficients": model.dual_coef_,
        "intercepts": model.intercept_,
        "gamma": np.array([model._gamma]),
    }


def _svm(arrays: Arrays, x: Floats) -> Floats:
    """Each pair of classes by its support vectors; a vote of pairs, ties by how sure they are.

    Source: Chang and Lin 2011, "LIBSVM: A Library for Support Vector Machines",
    doi:10.1145/1961189.1961199; the sum of sure pairs as scikit-learn adds it to the votes.
    """
    kernel = np.exp(-arrays["gamma"] * _squared_distances(x, arrays["vectors"]))
    ends = np.cumsum([0, *arrays["n_vectors"]])
    n, coefficients = len(arrays["n_vectors"]), arrays["coefficients"]
    if n == 2:
        return np.asarray(kernel @ coefficients.T + arrays["intercepts"])
    votes, sure = np.zeros((len(x), n)), np.zeros((len(x), n))
    pair = 0
    for i in range(n):
        for j in range(i + 1, n):
            of_i, of_j = slice(ends[i], ends[i + 1]), slice(ends[j], ends[j + 1])
            decision = kernel[:, of_i] @ coefficients[j - 1, of_i]
            decision += kernel[:, of_j] @ coefficients[i, of_j] + arrays["intercepts"][pair]
            sure[:, i] += decision
            sure[:, j] -= decision
            votes[:, i] += decision >= 0
            votes[:, j] += decision < 0
            pair += 1
    return np.asarray(votes + sure / (3 * (np.abs(sure) + 1)))  # never as much as a third of a vote


def _read_knn(model: Any) -> Arrays:
    return {"rows": model._fit_X, "labels": model._y, "k": np.array([model.n_neighbors])}


def _knn(arrays: Arrays, x: Floats) -> Floats:
    """The nearest rows vote, each by the inverse of its distance; one at no distance alone."""
    rows, k = arrays["rows"], int(arrays["k"][0])
    distances = np.sqrt(_squared_distances(x, rows))
    near = np.argpartition(distances, k - 1, axis=1)[:, :k]
    far = np.take_along_axis(distances, near, axis=1)
    same = far == 0
    with np.errstate(divide="ignore"):
        weights = np.where(same.any(axis=1, keepdims=True), same * 1.0, 1 / far)
    votes = np.zeros((len(x), len(arrays["classes"])))
    np.add.at(votes, (np.arange(len(x))[:, None], arrays["labels"][near]), weights)
    return _log(votes / votes.sum(axis=1, keepdims=True))


def _squared_distances(x: Floats, rows: Floats) -> Floats:
    """(n, n_rows). By differences: what is equal is at a distance of exactly 0."""
    from scipy.spatial.distance import cdist

    return np.asarray(cdist(x, rows, "sqeuclidean"))


def _read_forest(model: Any) -> Arrays:
    trees = [one.tree_ for one in model.estimators_]
    shares = [t.value[:, 0] / t.value[:, 0].sum(axis=1, keepdims=True) for t in trees]
    return {
        **_joined([(t.children_left, t.children_right, t.feature, t.threshold) for t in trees]),
        "values": np.concatenate(shares),
    }


def _forest(arrays: Arrays, x: Floats) -> Floats:
    # scikit-learn grows and asks these trees in single precision
    leaves = _leaves(arrays, x.astype(np.float32))
    return _log(arrays["values"][leaves].mean(axis=0))


def _read_boosted(model: Any) -> Arrays:
    trees = [tree.nodes for step in model._predictors for tree in step]
    sides = []
    for nodes in trees:
        leaf = nodes["is_leaf"].astype(bool)
        ends = (np.where(leaf, -1, nodes[side].astype(np.int64)) for side in ("left", "right"))
        sides.append((*ends, nodes["feature_idx"], nodes["num_threshold"]))
    return {
        **_joined(sides),
        "values": np.concatenate([nodes["value"] for nodes in trees]),
        "first": model._baseline_prediction.reshape(-1),
    }


def _boosted(arrays: Arrays, x: Floats) -> Floats:
    said = arrays["values"][_leaves(arrays, x)]  # (n_trees, n)
    first = arrays["first"]
    return np.asarray(first + said.reshape(-1, len(first), len(x)).sum(axis=0).T)


def _joined(trees: list[tuple[Any, Any, Any, Any]]) -> dict[str, NDArray[Any]]:
    """The trees' nodes in one row, each tree's first node in `roots`; a leaf has no `left`, -1."""
    sizes = [len(tree[0]) for tree in trees]
    roots = np.cumsum([0, *sizes[:-1]])
    begins = list(zip(trees, roots, strict=True))
    left, right = (
        np.concatenate([np.where(tree[side] < 0, -1, tree[side] + at) for tree, at in begins])
        for side in (0, 1)
    )
    return {
        "roots": roots.astype(np.int64),
        "left": left.astype(np.int64),
        "right": right.astype(np.int64),
        "column": np.concatenate([np.maximum(t[2], 0) for t in trees]).astype(np.int64),
        "threshold": np.concatenate([t[3] for t in trees]).astype(np.float64),
    }


def _leaves(arrays: Arrays, x: NDArray[Any]) -> NDArray[np.int64]:
    """The node in which each row ends, of each tree: (n_trees, n)."""
    at = np.repeat(arrays["roots"][:, None], len(x), axis=1)
    rows = np.arange(len(x))
    while (inside := arrays["left"][at] >= 0).any():
        goes_left = x[rows, arrays["column"][at]] <= arrays["threshold"][at]
        below = np.where(goes_left, arrays["left"][at], arrays["right"][at])
        at = np.where(inside, below, at)
    return at


def _log(proba: Floats) -> Floats:
    return np.asarray(np.log(np.maximum(proba, SMALLEST_PROBA)))


KINDS: Mapping[str, Kind] = {
    "LogisticRegression": Kind(_read_linear, _linear),
    "SVC": Kind(_read_svm, _svm),
    "KNeighborsClassifier": Kind(_read_knn, _knn),
    "RandomForestClassifier": Kind(_read_forest, _forest),
    "HistGradientBoostingClassifier": Kind(_read_boosted, _boosted),
}
"""Class of scikit-learn -> how it is read."""
