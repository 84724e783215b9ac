"""The expected test accuracy, estimated from out-of-fold rows before the test set is evaluated.

The out-of-fold accuracy of an ensemble whose members are trained on K folds is biased in two ways.

- Too high by *selection bias*: the configurations were chosen by their trials' scores on the search
  fold, and the kind of ensemble by its scores on these very rows. Estimated by
  `search.statistics.selection_bias`.
- Too low by the *gain* of averaging: an out-of-fold row is predicted by one network of each member,
  a test row by the mean of K. Estimated by `search.statistics.fold_averaging`.

Baselines predict test rows with one model of all development rows. Its gain over the fold models is
taken to be that of their mean, which was within 2 points of it. True and estimated gains in points
over 60 splits of ten corpora: logistic regression 5.0 and 4.7, support vectors 5.4 and 3.6, nearest
neighbours 3.6 and 4.1, forest 4.9 and 4.3, boosted trees 5.2 and 6.8
(`tests/benchmarks/bench_baseline_gain.py --splits 6`).

`tests/benchmarks/bench_statistics.py` checks all this in simulations with known truth.
"""

from dataclasses import asdict, dataclass
from typing import Any

from chorale.lightning_models.metrics import Labels, Proba, accuracy
from chorale.search.statistics.calibration import fit_temperature
from chorale.search.statistics.fold_averaging import FoldAveraging, estimate_fold_averaging


@dataclass(frozen=True)
class ExpectedAccuracy:
    """An out-of-fold accuracy and its corrections, as shares of tracks.

    `gain` is that of the mean over `n_folds` networks, `configuration_bias` the selection bias of
    choosing configurations, `kind_bias` that of choosing the kind of ensemble.
    """

    out_of_fold: float
    gain: float
    configuration_bias: float
    kind_bias: float
    n_folds: int

    @property
    def accuracy(self) -> float:
        """The expected test accuracy."""
        return self.out_of_fold + self.gain - self.configuration_bias - self.kind_bias

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"accuracy": self.accuracy, **asdict(self)}


def expected_accuracy(
    out_of_fold: Proba,
    labels: Labels,
    by_fold: Proba,
    on_test: Proba,
    *,
    configuration_bias: float,
    kind_bias: float,
) -> tuple[ExpectedAccuracy, FoldAveraging]:
    """Estimates an ensemble's accuracy on unseen groups, and the effect of the mean over folds.

    Args:
        out_of_fold: its out-of-fold probabilities, (n, n_classes).
        labels: (n,).
        by_fold: its probabilities for test rows by the networks of each fold, (n_folds, n_test,
            n_classes); test labels are not used.
        on_test: its probabilities for test rows by all networks, (n_test, n_classes).
        configuration_bias: the selection bias of choosing configurations, in accuracy.
        kind_bias: the selection bias of choosing the kind of ensemble, in accuracy.
    """
    found = accuracy(out_of_fold, labels)
    kind = min(kind_bias, found)
    configuration = min(configuration_bias, found - kind)
    averaged = estimate_fold_averaging(by_fold, fit_temperature(out_of_fold, labels), on_test)
    gain = min(averaged.gain, 1 - found + configuration + kind)
    return ExpectedAccuracy(found, gain, configuration, kind, len(by_fold)), averaged
