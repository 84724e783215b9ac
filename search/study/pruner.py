"""What stops a trial that is not worth its budget: pruners by name.

All read the ledger's study and keep nothing of their own, so they judge the same after an
interruption.
"""

import math
import zlib
from collections.abc import Callable, Sequence

from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.study import Study
from optuna.trial import FrozenTrial

HALVING = 3
"""One of so many trials goes on at a rung."""

N_FIRST = 5
"""The median judges from so many finished trials on."""

FEWEST_STEPS = 50
"""A training that has made fewer optimiser steps is too young to be judged. On little data a third
of the epochs is a few dozen steps, of which a one-cycle schedule's first half is warm-up: networks
that learn late would be the first to go."""

BRACKETS = (9, 5, 3)
"""Of 17 trials, hyperband judges so many at a ninth and a third of the epochs, at a third, never:
the shares of its Algorithm 1 for three brackets."""


class HalvingPruner(BasePruner):
    """Successive halving: at each rung only the best third of all that reached it goes on.

    Trials are never held up for slower ones: as long as there are fewer than three at a rung, the
    best so far goes on.

    Source: Jamieson and Talwalkar 2016, "Non-stochastic best arm identification", arXiv:1502.07943;
    asynchronous as in Li et al. 2020, arXiv:1810.05934.
    """

    def __init__(
        self,
        rungs: Sequence[int],
        *,
        hurdle: float | None = None,
        n_exempt: int = 0,
        rivals: Callable[[int], bool] = lambda number: True,  # noqa: ARG005
    ) -> None:
        """Trials are judged after `rungs` epochs, against those whose number is in `rivals`.

        `hurdle`: what a trial of an earlier study had reached at the only rung; it counts with the
        others, but for the first `n_exempt` trials, which repeat what that study found.
        """
        self._rungs, self._rivals = tuple(rungs), rivals
        self._hurdle, self._n_exempt = hurdle, n_exempt

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether the trial, which has just reported, shall stop."""
        step = trial.last_step
        if step not in self._rungs:
            return False
        mine = trial.intermediate_values[step]
        others = [
            other.intermediate_values[step]
            for other in study.get_trials(deepcopy=False)
            if step in other.intermediate_values
            and other.number != trial.number
            and self._rivals(other.number)
        ]
        if self._hurdle is not None and trial.number >= self._n_exempt:
            others.append(self._hurdle)
        reached = sorted([*others, mine], reverse=True)
        return bool(mine < reached[max(len(reached) // HALVING, 1) - 1])


class HyperbandPruner(BasePruner):
    """Hedges against a rung that comes too early: three brackets of trials with rungs of their own.

    Source: Li et al. 2018, "Hyperband: a novel bandit-based approach to hyperparameter
    optimization", arXiv:1603.06560.
    """

    def __init__(self, *, max_epochs: int) -> None:
        rungs = (math.ceil(max_epochs / HALVING**2), rung(max_epochs))
        self._brackets = [
            HalvingPruner(rungs[i:], rivals=lambda number, i=i: bracket(number) == i)  # type: ignore[misc]
            for i in range(len(BRACKETS))
        ]

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether the trial, which has just reported, shall stop."""
        return self._brackets[bracket(trial.number)].prune(study, trial)


def bracket(number: int) -> int:
    """The hyperband bracket of a trial, from its number alone."""
    place = zlib.crc32(str(number).encode()) % sum(BRACKETS)
    return 0 if place < BRACKETS[0] else 1 if place < BRACKETS[0] + BRACKETS[1] else 2


def rung(max_epochs: int) -> int:
    """The epoch after which successive halving judges, once: a third of all.

    Earlier, a one-cycle schedule has hardly begun, and the trials that end best would be the first
    to go.
    """
    return math.ceil(max_epochs / HALVING)


def make_pruner(
    name: str, *, max_epochs: int, hurdle: float | None = None, n_exempt: int = 0
) -> BasePruner:
    """The pruner of that name; `hurdle` and `n_exempt` count for successive halving only.

    The median stops, from a third of the epochs on, what is worse than the median of all trials at
    the same epoch (Golovin et al. 2017, "Google Vizier", doi:10.1145/3097983.3098043).
    """
    first = rung(max_epochs)
    makers: dict[str, Callable[[], BasePruner]] = {
        "successive_halving": lambda: HalvingPruner((first,), hurdle=hurdle, n_exempt=n_exempt),
        "hyperband": lambda: HyperbandPruner(max_epochs=max_epochs),
        "median": lambda: MedianPruner(n_startup_trials=N_FIRST, n_warmup_steps=first),
        "none": NopPruner,
    }
    return makers[name]()
