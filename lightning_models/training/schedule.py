"""Learning rate schedules: warm-up, cosine, one-cycle, and reduction on plateau.

`GenreClassifier` applies the factor before each step; `callbacks.EpochEnd` updates the plateau with
each epoch's loss.
"""

import math
from dataclasses import dataclass

from chorale.lightning_models.train_config import LrSchedule

ONE_CYCLE_RISE = 0.3
"""The share of all steps in which the one-cycle learning rate rises."""

ONE_CYCLE_START = 1 / 25
"""The initial one-cycle learning rate as a share of its maximum (Smith and Topin 2019)."""

PLATEAU_PATIENCE = 0.1
"""The share of all epochs without improvement after which a plateau lowers the rate."""

PLATEAU_FACTOR = 0.3
"""The factor by which a plateau multiplies the learning rate."""

PLATEAU_THRESHOLD = 1e-3
"""The relative decrease of the loss that counts as an improvement."""


def lr_factor(step: int, *, n_steps: int, schedule: LrSchedule, warm_up: float) -> float:
    """The learning rate of one step as a share of its maximum.

    Args:
        step: counted from 0.
        n_steps: of the whole training.
        schedule: a plateau's factor is applied in addition to this one.
        warm_up: the share of all steps in which the rate rises; one_cycle uses its own.

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983 (cosine); Smith and Topin 2019,
    arXiv:1708.07120 (one-cycle); Goyal et al. 2017, arXiv:1706.02677 (warm-up).
    """
    rise = max(1, round(n_steps * (ONE_CYCLE_RISE if schedule == "one_cycle" else warm_up)))
    if step < rise:
        low = ONE_CYCLE_START if schedule == "one_cycle" else 0.0
        return 1.0 - (1.0 - low) * (rise - step - 1) / rise
    if schedule in ("constant", "plateau"):
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - rise + 1) / (n_steps - rise + 1)))


@dataclass
class Plateau:
    """Reduces the learning rate when the loss stops improving; its fields are saved for resume.

    `patience` is in epochs, `best` the lowest loss, `waited` the epochs since then; `factor`
    multiplies the learning rate.
    """

    patience: int
    best: float | None = None
    waited: int = 0
    factor: float = 1.0

    @classmethod
    def of(cls, max_epochs: int) -> "Plateau":
        """A new one for a training of `max_epochs` epochs."""
        return cls(max(1, round(PLATEAU_PATIENCE * max_epochs)))

    def update(self, loss: float) -> None:
        """Updates the factor with an epoch's loss."""
        if self.best is None or loss < self.best - PLATEAU_THRESHOLD * abs(self.best):
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.factor *= PLATEAU_FACTOR
            self.waited = 0
