"""Calibrated probabilities of baselines, chosen and scaled without the rows that they are for."""

import numpy as np
from scipy.optimize import minimize_scalar

from chorale.datasets.label_sets import is_known, is_present
from chorale.search.baselines.classifiers import BaselineData
from chorale.search.baselines.fitted_classifier import score_proba
from chorale.search.baselines.grid_search import most_accurate
from chorale.search.statistics.arrays import Floats, Labels
from chorale.search.statistics.softmax import log_softmax


def proba_by_fold(scores: Floats, on_test: Floats, data: BaselineData) -> tuple[Floats, Floats]:
    """Probabilities of each fold and of the test rows, by the best parameters on the other folds.

    Rows that are only trained on get 0.

    Args:
        scores: of each point, (n_params, n, n_classes).
        on_test: scores of test rows by the best without each fold, (n_folds, n_test, n_classes).
        data: the rows.
    """
    proba, proba_test = np.zeros(scores.shape[1:]), np.zeros_like(on_test)
    multi_label = data.y.ndim == 2
    for number, fold in enumerate(data.folds):
        out = data.valid_rows(fold)
        rest = data.scored & ~out
        best = scores[most_accurate(scores[:, rest], data.scored_y[rest])]
        temperature = fit_score_temperature(best[rest], data.scored_y[rest])
        proba[out] = score_proba(best[out] / temperature, multi_label=multi_label)
        proba_test[number] = score_proba(on_test[number] / temperature, multi_label=multi_label)
    return proba, proba_test


def fit_score_temperature(scores: Floats, y: Labels) -> float:
    """Temperature scaling: the divisor of the scores that minimizes the log loss.

    The order of the classes stays. Where multi-label, scores are log-odds.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599.
    """
    if y.ndim == 2:
        known = is_known(y)
        margins = np.where(is_present(y), scores, -scores)[known]
        if not len(margins):
            return 1.0

    def loss(log_temperature: float) -> float:
        if y.ndim == 2:
            return float(np.logaddexp(0, -margins / np.exp(log_temperature)).mean())
        scaled = scores / np.exp(log_temperature)
        return -float(log_softmax(scaled)[np.arange(len(y)), y].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-5.0, 5.0), method="bounded").x))
