"""Private names of scikit-learn, all in this file: fitted parameters that have no public name."""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.private_names import private_attribute

_fitted = partial(private_attribute, distribution="scikit-learn", tested="1.9")


def svm_gamma(model: Any) -> float:
    """The kernel coefficient of a fitted SVC: `gamma="scale"` has been resolved to a number."""
    return float(_fitted(model, "_gamma"))


def knn_rows(model: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """The rows and labels of a fitted nearest-neighbours classifier."""
    return _fitted(model, "_fit_X"), _fitted(model, "_y")


def boosted_trees(model: Any) -> list[Any]:
    """The trees of a fitted histogram gradient boosting, each as a table of its nodes."""
    return [tree.nodes for step in _fitted(model, "_predictors") for tree in step]


def boosted_baseline(model: Any) -> NDArray[Any]:
    """The scores that gradient boosting starts from: (n_scores,)."""
    return np.asarray(_fitted(model, "_baseline_prediction")).reshape(-1)
