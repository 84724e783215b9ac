"""Pruners by name: successive halving, hyperband, median, none.

They read the ledger's study and keep no state, so they decide the same after an interruption.
"""

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.study import Study
from optuna.trial import FrozenTrial

REDUCTION_FACTOR = 3
"""eta of successive halving: one of this many trials continues at a rung."""

N_MEDIAN_STARTUP_TRIALS = 5
"""The median pruner starts after this many finished trials."""

MIN_OPTIMIZER_STEPS = 50
"""A trial with fewer optimiser steps is not pruned. On little data a third of the epochs is a few
dozen steps, and the first half of a one-cycle schedule is warm-up: networks that learn late would
be pruned first."""

BRACKET_SIZES = (9, 5, 3)
"""Of 17 trials, hyperband has this many with rungs at a ninth and a third of the epochs, with one
at a third, and without any: the shares of its Algorithm 1 for three brackets."""


Kind = Callable[[FrozenTrial], object]
"""The kind of a trial: only trials of one kind are compared."""

NO_HURDLES: Mapping[object, float] = MappingProxyType({})


class HalvingPruner(BasePruner):
    """Asynchronous successive halving: at each rung only the best third of all trials continues.

    Trials never wait for slower ones: while fewer than three have reached a rung, the best so far
    continues. Trials are compared with those of their own kind: networks of tables, which are near
    their best after a third of the epochs, would stop all networks of spectrograms, which learn
    later and end better.

    Source: Jamieson and Talwalkar 2016, "Non-stochastic best arm identification", arXiv:1502.07943;
    asynchronous as in Li et al. 2020, arXiv:1810.05934.
    """

    def __init__(
        self,
        rungs: Sequence[int],
        *,
        hurdles: Mapping[object, float] = NO_HURDLES,
        n_exempt: int = 0,
        rivals: Callable[[int], bool] = lambda number: True,  # noqa: ARG005
        kind: Kind = lambda trial: None,  # noqa: ARG005
    ) -> None:
        """Prunes after `rungs` epochs, comparing a trial with those whose number is in `rivals`.

        They must be of its `kind`, too.

        `hurdles` are objectives of earlier studies' trials at the only rung, by kind: that of a
        trial's kind counts as one more rival, but not for the first `n_exempt` trials, which repeat
        those studies' points.
        """
        self._rungs, self._rivals, self._kind = tuple(rungs), rivals, kind
        self._hurdles, self._n_exempt = hurdles, n_exempt

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether to stop the trial, which has just reported."""
        step = trial.last_step
        if step not in self._rungs:
            return False
        mine, kind = trial.intermediate_values[step], self._kind(trial)
        others = [
            other.intermediate_values[step]
            for other in study.get_trials(deepcopy=False)
            if step in other.intermediate_values
            and other.number != trial.number
            and self._rivals(other.number)
            and self._kind(other) == kind
        ]
        if kind in self._hurdles and trial.number >= self._n_exempt:
            others.append(self._hurdles[kind])
        reached = sorted([*others, mine], reverse=True)
        return bool(mine < reached[max(len(reached) // REDUCTION_FACTOR, 1) - 1])


class HyperbandPruner(BasePruner):
    """Hyperband: three brackets of trials with different rungs, in case a rung comes too early.

    Source: Li et al. 2018, "Hyperband: a novel bandit-based approach to hyperparameter
    optimization", arXiv:1603.06560.
    """

    def __init__(self, *, max_epochs: int, kind: Kind = lambda trial: None) -> None:  # noqa: ARG005
        rungs = (math.ceil(max_epochs / REDUCTION_FACTOR**2), first_rung(max_epochs))
        self._brackets = [
            HalvingPruner(rungs[i:], rivals=lambda number, i=i: bracket_of(number) == i, kind=kind)  # type: ignore[misc]
            for i in range(len(BRACKET_SIZES))
        ]

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether to stop the trial, which has just reported."""
        return self._brackets[bracket_of(trial.number)].prune(study, trial)


def bracket_of(number: int) -> int:
    """The hyperband bracket of a trial, from its number alone."""
    place = zlib.crc32(str(number).encode()) % sum(BRACKET_SIZES)
    return (
        0 if place < BRACKET_SIZES[0] else 1 if place < BRACKET_SIZES[0] + BRACKET_SIZES[1] else 2
    )


def first_rung(max_epochs: int) -> int:
    """The epoch of the only rung of successive halving: a third of all epochs.

    Earlier, a one-cycle schedule has hardly begun, and the trials that end best would often be
    pruned.
    """
    return math.ceil(max_epochs / REDUCTION_FACTOR)


def make_pruner(
    name: str,
    *,
    max_epochs: int,
    hurdles: Mapping[object, float] = NO_HURDLES,
    n_exempt: int = 0,
    kind: Kind = lambda trial: None,  # noqa: ARG005
) -> BasePruner:
    """The pruner of that name; `hurdles` and `n_exempt` apply to successive halving only.

    Successive halving and hyperband compare trials of one `kind`.

    From a third of the epochs on, the median pruner stops trials that are worse than the median of
    all trials at the same epoch (Golovin et al. 2017, "Google Vizier",
    doi:10.1145/3097983.3098043).
    """
    first = first_rung(max_epochs)
    makers: dict[str, Callable[[], BasePruner]] = {
        "successive_halving": lambda: HalvingPruner(
            (first,), hurdles=hurdles, n_exempt=n_exempt, kind=kind
        ),
        "hyperband": lambda: HyperbandPruner(max_epochs=max_epochs, kind=kind),
        "median": lambda: MedianPruner(
            n_startup_trials=N_MEDIAN_STARTUP_TRIALS, n_warmup_steps=first
        ),
        "none": NopPruner,
    }
    return makers[name]()
