"""Proposes trials by running Optuna's samplers on an in-memory copy of the study.

The ledger's study has one objective, so that Optuna can prune in it; the copy also has the second
objective, if the sweep names one. A trial enters the ledger with all its parameters at once.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from chorale.search.config.schema import SearchConfig
from chorale.search.config.space import SearchSpace
from chorale.search.ledger._optuna import storage_of, study_id_of
from chorale.search.study.initial_points import InitialPoints
from chorale.search.study.samplers.sampler import NumberedSampler


@dataclass(frozen=True)
class Measured:
    """What the sampler learns of an ended trial besides its objective.

    `second` is its second objective, `is_worst` whether its parameters made it fail. `excesses` are
    constraints: by how much it exceeds each limit, 0 or less where it keeps to it. TPE and NSGA-II
    rank trials that exceed one behind all others, those that exceed it least first.
    """

    second: float | None = None
    is_worst: bool = False
    excesses: Mapping[str, float] = field(default_factory=dict)


class Proposals:
    """The in-memory copy, with the same trial numbers as the ledger's study."""

    def __init__(self, space: SearchSpace, search: SearchConfig, initial: InitialPoints) -> None:
        self._space = space
        self._two = search.second != "none"
        self._study = optuna.create_study(
            directions=["maximize", "minimize"] if self._two else ["maximize"],
            sampler=NumberedSampler(space, search, initial),
        )

    def propose(self) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
        """The next trial's parameters and their distributions, by full parameter names."""
        trial = self._study.ask()
        self._space.suggest(trial)
        return trial.params, trial.distributions

    def restore(self, trial: FrozenTrial, measured: Measured) -> None:
        """Adds a trial of an earlier session, as `end`; call it in the order of trial numbers."""
        self._study.add_trial(self._copy(trial, measured))

    def end(self, trial: FrozenTrial, measured: Measured) -> None:
        """Adds the result of a trial of this session.

        A trial that failed because of its parameters gets the worst values, so that the sampler
        avoids its region. Other failures are ignored. The worst values exist only in this copy.
        """
        copy = self._copy(trial, measured)
        # Not `Study.tell`, which takes a pruned trial's value only from its reports.
        storage, study_id = storage_of(self._study), study_id_of(self._study)
        trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
        for name, excess in copy.constraints.items():
            optuna.Trial(self._study, trial_id).set_constraint(name, excess)
        for step, value in copy.intermediate_values.items():
            storage.set_trial_intermediate_value(trial_id, step, value)
        storage.set_trial_state_values(trial_id, copy.state, copy.values)

    def _worst(self) -> list[float] | None:
        """The worst values: an objective of 0, and the highest second value of any trial.

        None where no trial has a second value yet.
        """
        if not self._two:
            return [0.0]
        known = [
            trial.values[1] for trial in self._study.get_trials(deepcopy=False) if trial.values
        ]
        return [0.0, max(known)] if known else None

    def _copy(self, trial: FrozenTrial, measured: Measured) -> FrozenTrial:
        state, values, second = trial.state, trial.values, measured.second
        if measured.is_worst and (worst := self._worst()) is not None:
            state, values = TrialState.COMPLETE, worst
        elif self._two and state in (TrialState.COMPLETE, TrialState.PRUNED):
            # Optuna cannot prune with two objectives, so pruned trials count with their last value.
            # Both second objectives are ratio scales, so their logarithm is modelled.
            state = TrialState.COMPLETE
            if values is None or second is None:
                state, values = TrialState.FAIL, None
            else:
                values = [values[0], math.log(max(second, 1e-12))]
        return create_trial(
            state=state,
            params=trial.params,
            distributions=trial.distributions,
            values=values,
            intermediate_values=dict(trial.intermediate_values),
            constraints=dict(measured.excesses),
        )
