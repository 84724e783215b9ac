"""The course of the learning rate: a factor for every step, and what a plateau makes of it.

`GenreClassifier` asks for it before each step; `watch` tells the plateau each epoch's loss.
"""

import math
from dataclasses import dataclass

from chorale.lightning_models.train_config import Schedule

RISE = 0.3
"""The share of all steps in which a one-cycle learning rate rises."""

CYCLE_START = 1 / 25
"""Where a one-cycle learning rate starts, as a share of its height (Smith and Topin 2019)."""

PATIENCE = 0.1
"""The share of all epochs that the loss may stand still before a plateau lowers the rate."""

LOWER = 0.3
"""What a plateau multiplies the learning rate by."""

STILL = 1e-3
"""A loss that falls by no more than this share of itself stands still."""


def lr_factor(step: int, *, n_steps: int, schedule: Schedule, warm_up: float) -> float:
    """The learning rate of one step as a share of its full height.

    Args:
        step: counted from 0.
        n_steps: of the whole training.
        schedule: a plateau's own factor comes on top of this one.
        warm_up: the share of all steps in which the rate rises; one_cycle has its own.

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983 (cosine); Smith and Topin 2019,
    arXiv:1708.07120 (one-cycle); Goyal et al. 2017, arXiv:1706.02677 (warm-up).
    """
    rise = max(1, round(n_steps * (RISE if schedule == "one_cycle" else warm_up)))
    if step < rise:
        low = CYCLE_START if schedule == "one_cycle" else 0.0
        return 1.0 - (1.0 - low) * (rise - step - 1) / rise
    if schedule in ("constant", "plateau"):
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - rise + 1) / (n_steps - rise + 1)))


@dataclass
class Plateau:
    """Lowers the learning rate when the loss stands still. Plain numbers: a resume keeps them.

    `patience` is in epochs, `best` the lowest loss, `waited` the epochs since; `factor` is what
    the learning rate is multiplied by.
    """

    patience: int
    best: float | None = None
    waited: int = 0
    factor: float = 1.0

    @classmethod
    def of(cls, max_epochs: int) -> "Plateau":
        """A fresh one for a training of so many epochs."""
        return cls(max(1, round(PATIENCE * max_epochs)))

    def see(self, loss: float) -> None:
        """Takes note of an epoch's loss."""
        if self.best is None or loss < self.best - STILL * abs(self.best):
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.factor *= LOWER
            self.waited = 0
