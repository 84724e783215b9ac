"""The expected test accuracy: what out-of-fold rows say of the test set, before it is opened.

The out-of-fold accuracy of an ensemble whose members are trained on K folds is wrong in three ways.

- Too high by the *luck*: the configurations were chosen for what their trials said of the search
  fold. `search.luck` tells how much, from the finalists, which are trained anew there.
- Too high by the *luck of the kind*: the ensemble was chosen by these very rows.
- Too low by the *gain*: an out-of-fold row is judged by one network of each member, a test row by
  the mean of K. `search.averaging` tells how much.

Baselines speak of test rows by one model of all development rows, out of fold by models of fewer:
what the further rows bring is not in it, so that with little data the test may be better than that.

`tests/benchmarks/bench_statistics.py` holds all this against simulated truths.
"""

from dataclasses import asdict, dataclass
from typing import Any

from chorale.lightning_models.metrics import Proba
from chorale.search.averaging import Averaged, of_folds


@dataclass(frozen=True)
class Expected:
    """The accuracy `out_of_fold`, what the mean over `n_folds` networks brings, what luck takes.

    `luck` is that of the configurations, `luck_of_kind` that of the ensemble.
    """

    out_of_fold: float
    gain: float
    luck: float
    luck_of_kind: float
    n_folds: int

    @property
    def accuracy(self) -> float:
        """What the test set is expected to say."""
        return self.out_of_fold + self.gain - self.luck - self.luck_of_kind

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"accuracy": self.accuracy, **asdict(self)}


def expected_accuracy(
    out_of_fold: float, by_fold: Proba, *, luck: float = 0.0, luck_of_kind: float = 0.0
) -> tuple[Expected, Averaged]:
    """What an ensemble is expected to reach on unseen groups, and what the mean over folds does.

    Args:
        out_of_fold: its accuracy out of fold.
        by_fold: what it says of test rows by the networks of each fold, (n_folds, n_test,
            n_classes); their labels are not asked.
        luck: by how much the accuracy is too high, as the configurations were chosen.
        luck_of_kind: by how much, as the ensemble was.
    """
    of_kind = min(luck_of_kind, out_of_fold)
    luck = min(luck, out_of_fold - of_kind)
    averaged = of_folds(by_fold, out_of_fold - luck - of_kind)
    return Expected(out_of_fold, averaged.gain, luck, of_kind, len(by_fold)), averaged
