"""The expected test accuracy: what out-of-fold rows say of the test set, before it is opened.

The out-of-fold accuracy of an ensemble whose members are trained on K folds is wrong in two ways.

- Too high by *selection bias*: the configurations were chosen for what their trials said of the
  search fold, and the kind of ensemble for what it said of these very rows.
  `search.statistics.selection_bias` tells how much.
- Too low by the *gain*: an out-of-fold row is judged by one network of each member, a test row by
  the mean of K. `search.statistics.fold_averaging` tells how much.

Baselines speak of test rows by one model of all development rows. What that model brings beyond
those of the folds is taken to be what their mean would bring, which was within 2 points of it: true
and told over 60 splits of ten corpora, logistic regression 5.0 and 4.7, support vectors 5.4 and
3.6, neighbours 3.6 and 4.1, forest 4.9 and 4.3, boosted trees 5.2 and 6.8
(`tests/benchmarks/bench_baseline_gain.py --splits 6`).

`tests/benchmarks/bench_statistics.py` holds all this against simulated truths.
"""

from dataclasses import asdict, dataclass
from typing import Any

from chorale.lightning_models.metrics import Labels, Proba, accuracy
from chorale.search.statistics.calibration import temperature
from chorale.search.statistics.fold_averaging import Averaged, of_folds


@dataclass(frozen=True)
class Expected:
    """The accuracy `out_of_fold`, the `gain` of the mean over `n_folds` networks, selection biases.

    One is of the choice of configurations, one of the choice of the ensemble.
    """

    out_of_fold: float
    gain: float
    configuration_bias: float
    kind_bias: float
    n_folds: int

    @property
    def accuracy(self) -> float:
        """What the test set is expected to say."""
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
) -> tuple[Expected, Averaged]:
    """What an ensemble is expected to reach on unseen groups, and what the mean over folds does.

    Args:
        out_of_fold: what it says out of fold, (n, n_classes).
        labels: (n,).
        by_fold: what it says of test rows by the networks of each fold, (n_folds, n_test,
            n_classes); their labels are not asked.
        on_test: what it says of them by all of its networks, (n_test, n_classes).
        configuration_bias: by how much its accuracy is too high, as configurations were chosen.
        kind_bias: by how much, as the ensemble was.
    """
    found = accuracy(out_of_fold, labels)
    kind = min(kind_bias, found)
    configuration = min(configuration_bias, found - kind)
    averaged = of_folds(by_fold, temperature(out_of_fold, labels), on_test)
    gain = min(averaged.gain, 1 - found + configuration + kind)
    return Expected(found, gain, configuration, kind, len(by_fold)), averaged
