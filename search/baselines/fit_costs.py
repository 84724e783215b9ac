"""The expected time of one fit of a baseline, by which the plan orders them.

The figures are of one core of a 2024 CPU.
"""

import math

from chorale.search.baselines.classifiers import MLP_BATCH_SIZE, N_HIDDEN, n_mlp_epochs
from chorale.search.baselines.wide_rows import MAX_KERNEL_ROWS


def expected_s(
    name: str,
    *,
    n_rows: int,
    n_new: int,
    n_columns: int,
    n_classes: int,
    one_vs_rest: bool = False,
    pooled: bool = False,
) -> float:
    """Estimated seconds of one fit, on one core of a 2024 CPU.

    It only orders the first fits and excludes those that would never end; the time of further fits
    is estimated from the measured first ones. `pooled`: rows are fitted by `wide_rows`.
    """
    if one_vs_rest:
        one_s = expected_s(
            name, n_rows=n_rows, n_new=n_new, n_columns=n_columns, n_classes=1, pooled=pooled
        )
        return n_classes * one_s
    if pooled and name == "logistic_regression" and n_rows < n_columns:
        return 0.03 + 3e-8 * n_rows**2 * n_classes + 5e-10 * n_rows**2 * n_columns
    if pooled and name == "svm" and n_rows <= MAX_KERNEL_ROWS:
        return 0.02 + 1.5e-7 * n_rows**2 + 1e-10 * n_rows * (n_rows + n_new) * n_columns
    if name == "logistic_regression":
        return 0.03 + 3e-8 * n_rows * n_columns * n_classes
    if name == "knn":
        return 0.01 + (1e-10 if pooled else 3e-10) * n_rows * n_new * n_columns
    if name == "multilayer_perceptron":
        n_steps = n_mlp_epochs(n_rows) * (1 + n_rows / MLP_BATCH_SIZE)
        return n_steps * (4e-4 + 6e-10 * MLP_BATCH_SIZE * N_HIDDEN * (n_columns + n_classes))
    if name == "extra_trees":
        return 0.4 + 3e-6 * n_rows * math.log2(n_rows + 1) * math.sqrt(n_columns)
    if name == "random_forest":
        return 0.5 + 7e-6 * n_rows * math.log2(n_rows + 1) * math.sqrt(n_columns)
    if name == "gradient_boosting":
        return 40 * n_classes * (3e-3 + 7e-9 * n_rows * n_columns)
    return 0.01 + 8e-10 * n_rows**2 * n_columns
