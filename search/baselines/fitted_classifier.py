"""Fitted scikit-learn classifiers as plain arrays: inference without scikit-learn or pickle.

`search.baselines.classifiers` fits them; a bundle that holds a baseline predicts by
`classifier_scores`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorale.search.baselines import _sklearn
from chorale.search.baselines.one_vs_rest import N_LABELS, score_each
from chorale.search.statistics.arrays import Floats
from chorale.search.statistics.softmax import sigmoid, softmax

ClassifierArrays = Mapping[str, NDArray[Any]]

MIN_VOTE_SHARE = 1e-3
"""The lower bound of the shares of votes of trees and neighbours before logarithms are taken."""
BY_PRODUCTS = "by_products"
"""The array that marks models whose distances are computed by products of matrices."""
_SEVERAL = "several"
"""The array that marks a forest of several labels."""
_BATCH_SIZE = 256
"""Rows per batch; bounds the memory of distances to all training rows."""


def classifier_arrays(fitted: Any) -> ClassifierArrays:
    """The parameters of a fitted classifier of `search.baselines.classifiers.make_classifier`.

    They include `kind` (its name as bytes), `classes`, and, where columns are standardized, their
    `mean` and `scale`.
    """
    steps = [step for _, step in fitted.steps] if hasattr(fitted, "steps") else [fitted]
    model = steps[-1]
    kind = type(model).__name__
    classes = model.classes_
    if isinstance(classes, list):  # fitted on several labels: their values, label by label
        classes = np.arange(len(classes))
    found = {"kind": np.frombuffer(kind.encode(), np.uint8), "classes": classes}
    if len(steps) > 1:
        found |= {"mean": steps[0].mean_, "scale": steps[0].scale_}
    return {**found, **_FORMATS[kind].read(model)}


def classifier_scores(arrays: ClassifierArrays, x: NDArray[Any], *, n_classes: int) -> Floats:
    """Scores (n, n_classes) of rows (n, n_columns); the highest is the classifier's own decision.

    For a classifier that gives only probabilities they are their logarithms. A class without
    training rows gets the row's lowest score. Where the classifier was fitted on several labels,
    the scores are the log-odds of each.
    """
    if N_LABELS in arrays:
        return score_each(arrays, lambda one: classifier_scores(one, x, n_classes=2), n_rows=len(x))
    kind = _FORMATS[bytes(arrays["kind"]).decode()]
    x = standardized(arrays, x)
    parts = [x[i : i + _BATCH_SIZE] for i in range(0, len(x), _BATCH_SIZE)]
    found = np.concatenate([kind.scores(arrays, part) for part in parts])
    if found.shape[1] == 1:  # two classes: the score of the second
        found = np.concatenate([-found / 2, found / 2], axis=1)
    scores = np.repeat(found.min(axis=1, keepdims=True), n_classes, axis=1)
    scores[:, arrays["classes"]] = found
    return scores


def score_proba(scores: Floats, *, multi_label: bool) -> NDArray[np.float32]:
    """Scores (n, n_classes) as probabilities: rows sum to 1, or of log-odds where `multi_label`."""
    proba = sigmoid(scores) if multi_label else softmax(scores)
    return proba.astype(np.float32)


def standardized(arrays: ClassifierArrays, x: NDArray[Any]) -> Floats:
    """Rows (n, n_columns) after the classifier's standardization, if it has one."""
    x = x.astype(np.float64)
    return (x - arrays["mean"]) / arrays["scale"] if "mean" in arrays else x


@dataclass(frozen=True)
class _Format:
    """Reads a classifier into arrays, and scores rows with these: (n, n_classes or 1)."""

    read: Callable[[Any], ClassifierArrays]
    scores: Callable[[ClassifierArrays, Floats], Floats]


def _read_linear(model: Any) -> ClassifierArrays:
    return {"slopes": model.coef_, "intercepts": model.intercept_}


def _linear(arrays: ClassifierArrays, x: Floats) -> Floats:
    return np.asarray(x @ arrays["slopes"].T + arrays["intercepts"])


def _read_svm(model: Any) -> ClassifierArrays:
    gamma = 0.0 if model.kernel == "linear" else _sklearn.svm_gamma(model)
    return {
        "vectors": model.support_vectors_,
        "n_vectors": model.n_support_,
        "coefficients": model.dual_coef_,
        "intercepts": model.intercept_,
        "gamma": np.array([gamma]),
    }


def svm_kernel(arrays: ClassifierArrays, x: Floats, vectors: Floats) -> Floats:
    """The kernel (n, n_vectors) of rows `x` and `vectors`: RBF, or linear where `gamma` is 0."""
    vectors = vectors.astype(np.float64, copy=False)
    if not arrays["gamma"][0]:
        return np.asarray(x @ vectors.T)
    squared = _squared_by_products if BY_PRODUCTS in arrays else _squared_distances
    return np.asarray(np.exp(-arrays["gamma"] * squared(x, vectors)))


def _svm(arrays: ClassifierArrays, x: Floats) -> Floats:
    """One-vs-one SVM: each pair of classes votes; ties go to the larger sum of decision values.

    Source: Chang and Lin 2011, "LIBSVM: A Library for Support Vector Machines",
    doi:10.1145/1961189.1961199; decision values are added to the votes as in scikit-learn.
    """
    kernel = svm_kernel(arrays, x, arrays["vectors"])
    ends = np.cumsum([0, *arrays["n_vectors"]])
    n, coefficients = len(arrays["n_vectors"]), arrays["coefficients"]
    if n == 2:
        return np.asarray(kernel @ coefficients.T + arrays["intercepts"])
    votes, sums = np.zeros((len(x), n)), np.zeros((len(x), n))
    pair = 0
    for i in range(n):
        for j in range(i + 1, n):
            of_i, of_j = slice(ends[i], ends[i + 1]), slice(ends[j], ends[j + 1])
            decision = kernel[:, of_i] @ coefficients[j - 1, of_i]
            decision += kernel[:, of_j] @ coefficients[i, of_j] + arrays["intercepts"][pair]
            sums[:, i] += decision
            sums[:, j] -= decision
            votes[:, i] += decision >= 0
            votes[:, j] += decision < 0
            pair += 1
    return np.asarray(votes + sums / (3 * (np.abs(sums) + 1)))  # less than a third of a vote


def _read_knn(model: Any) -> ClassifierArrays:
    rows, labels = _sklearn.knn_rows(model)
    if labels.ndim == 2:  # positions among the values that a label has in the rows
        each = zip(model.classes_, labels.T, strict=True)
        labels = np.stack([values[at] for values, at in each], axis=1).astype(np.uint8)
    return {"rows": rows, "labels": labels, "k": np.array([model.n_neighbors])}


def _knn(arrays: ClassifierArrays, x: Floats) -> Floats:
    """The nearest rows vote, weighted by inverse distance; rows at distance 0 vote alone."""
    rows, k = arrays["rows"], int(arrays["k"][0])
    if BY_PRODUCTS in arrays:  # only to find the nearest: of equal rows they are not exactly 0
        near = np.argpartition(_squared_by_products(x, rows), k - 1, axis=1)[:, :k]
        each = [np.linalg.norm(x - rows[at], axis=1) for at in near.T]
        distance = np.stack(each, axis=1)  # (n, k)
    else:
        distances = np.sqrt(_squared_distances(x, rows))
        near = np.argpartition(distances, k - 1, axis=1)[:, :k]
        distance = np.take_along_axis(distances, near, axis=1)  # (n, k)
    same = distance == 0
    with np.errstate(divide="ignore"):
        weights = np.where(same.any(axis=1, keepdims=True), same * 1.0, 1 / distance)
    if arrays["labels"].ndim == 2:
        present = np.einsum("nk,nkc->nc", weights, arrays["labels"][near])
        return _log_odds(present / weights.sum(axis=1, keepdims=True))
    votes = np.zeros((len(x), len(arrays["classes"])))
    np.add.at(votes, (np.arange(len(x))[:, None], arrays["labels"][near]), weights)
    return _log(votes / votes.sum(axis=1, keepdims=True))


def _squared_distances(x: Floats, rows: Floats) -> Floats:
    """(n, n_rows), computed from differences, so that equal rows have distance exactly 0."""
    from scipy.spatial.distance import cdist

    return np.asarray(cdist(x, rows, "sqeuclidean"))


def _squared_by_products(x: Floats, rows: Floats) -> Floats:
    """(n, n_rows), up to rounding; many times faster for thousands of columns."""
    sums = (x**2).sum(axis=1)[:, None] + (rows**2).sum(axis=1)
    return np.asarray(np.maximum(sums - 2 * x @ rows.T, 0))


def _read_forest(model: Any) -> ClassifierArrays:
    trees = [one.tree_ for one in model.estimators_]
    shares = [t.value[:, 0] / t.value[:, 0].sum(axis=1, keepdims=True) for t in trees]
    several: ClassifierArrays = {}
    if trees[0].n_outputs > 1:  # several labels: the share of rows that have each
        n_values = trees[0].value.shape[2]
        each = [_presence(values, n_values) for values in model.classes_]
        present = np.stack(each)  # (n_classes, n_values)
        shares = [(t.value * present).sum(axis=2) / t.value.sum(axis=2) for t in trees]
        several = {_SEVERAL: np.array([True])}
    return {
        **several,
        **_joined([(t.children_left, t.children_right, t.feature, t.threshold) for t in trees]),
        "values": np.concatenate(shares),
    }


def _presence(values: NDArray[Any], n: int) -> NDArray[Any]:
    """Which of the `n` columns of a label's counts is that of rows that have it, (n,)."""
    return np.pad(values, (0, n - len(values)))


def _forest(arrays: ClassifierArrays, x: Floats) -> Floats:
    # scikit-learn fits and evaluates these trees in single precision
    leaves = _leaves(arrays, x.astype(np.float32))
    shares = arrays["values"][leaves].mean(axis=0)
    return _log_odds(shares) if arrays.get(_SEVERAL, np.zeros(1))[0] else _log(shares)


def _read_boosted(model: Any) -> ClassifierArrays:
    trees = _sklearn.boosted_trees(model)
    sides = []
    for nodes in trees:
        leaf = nodes["is_leaf"].astype(bool)
        ends = (np.where(leaf, -1, nodes[side].astype(np.int64)) for side in ("left", "right"))
        sides.append((*ends, nodes["feature_idx"], nodes["num_threshold"]))
    return {
        **_joined(sides),
        "values": np.concatenate([nodes["value"] for nodes in trees]),
        "first": _sklearn.boosted_baseline(model),
    }


def _boosted(arrays: ClassifierArrays, x: Floats) -> Floats:
    values = arrays["values"][_leaves(arrays, x)]  # (n_trees, n)
    first = arrays["first"]
    return np.asarray(first + values.reshape(-1, len(first), len(x)).sum(axis=0).T)


def _joined(trees: list[tuple[Any, Any, Any, Any]]) -> dict[str, NDArray[Any]]:
    """All trees' nodes in flat arrays; `roots` are the trees' first nodes; a leaf has `left` -1."""
    sizes = [len(tree[0]) for tree in trees]
    roots = np.cumsum([0, *sizes[:-1]])
    starts = list(zip(trees, roots, strict=True))
    left, right = (
        np.concatenate([np.where(tree[side] < 0, -1, tree[side] + at) for tree, at in starts])
        for side in (0, 1)
    )
    return {
        "roots": roots.astype(np.int64),
        "left": left.astype(np.int64),
        "right": right.astype(np.int64),
        "column": np.concatenate([np.maximum(t[2], 0) for t in trees]).astype(np.int64),
        "threshold": np.concatenate([t[3] for t in trees]).astype(np.float64),
    }


def _leaves(arrays: ClassifierArrays, x: NDArray[Any]) -> NDArray[np.int64]:
    """The leaf of each row in each tree: (n_trees, n)."""
    at = np.repeat(arrays["roots"][:, None], len(x), axis=1)
    rows = np.arange(len(x))
    while (is_inner := arrays["left"][at] >= 0).any():
        goes_left = x[rows, arrays["column"][at]] <= arrays["threshold"][at]
        below = np.where(goes_left, arrays["left"][at], arrays["right"][at])
        at = np.where(is_inner, below, at)
    return at


def _read_mlp(model: Any) -> ClassifierArrays:
    (hidden, out), (hidden_bias, out_bias) = model.coefs_, model.intercepts_
    return {"hidden": hidden, "hidden_bias": hidden_bias, "out": out, "out_bias": out_bias}


def _mlp(arrays: ClassifierArrays, x: Floats) -> Floats:
    hidden = np.maximum(x @ arrays["hidden"] + arrays["hidden_bias"], 0)
    return np.asarray(hidden @ arrays["out"] + arrays["out_bias"])


def _log_odds(shares: Floats) -> Floats:
    return _log(shares) - _log(1 - shares)


def _log(proba: Floats) -> Floats:
    return np.asarray(np.log(np.maximum(proba, MIN_VOTE_SHARE)))


_FORMATS: Mapping[str, _Format] = {
    "LogisticRegression": _Format(_read_linear, _linear),
    "SVC": _Format(_read_svm, _svm),
    "KNeighborsClassifier": _Format(_read_knn, _knn),
    "MLPClassifier": _Format(_read_mlp, _mlp),
    "RandomForestClassifier": _Format(_read_forest, _forest),
    "ExtraTreesClassifier": _Format(_read_forest, _forest),
    "HistGradientBoostingClassifier": _Format(_read_boosted, _boosted),
}
"""Class name in scikit-learn -> its format."""
