"""Proposes trials: Optuna's samplers on a copy of the study that is kept in memory.

The ledger's study has one objective, so that Optuna can prune and report in it; the copy has the
second one, too, where the sweep names it. A trial reaches the ledger whole, with all its values.
"""

import math
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from chorale.search.config.schema import Search
from chorale.search.config.space import SearchSpace
from chorale.search.study.initial_points import Opening
from chorale.search.study.samplers.sampler import NumberedSampler


class Proposals:
    """The copy: trials stand in it under the same numbers as in the ledger's study."""

    def __init__(self, space: SearchSpace, search: Search, opening: Opening) -> None:
        self._space = space
        self._two = search.second != "none"
        self._study = optuna.create_study(
            directions=["maximize", "minimize"] if self._two else ["maximize"],
            sampler=NumberedSampler(space, search, opening),
        )

    def propose(self) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
        """The next trial's values, and what each was drawn from, by full parameter names."""
        trial = self._study.ask()
        self._space.suggest(trial)
        return trial.params, trial.distributions

    def restore(
        self,
        trial: FrozenTrial,
        second: float | None,
        *,
        too_slow: bool = False,
        diverged: bool = False,
    ) -> None:
        """Takes in a trial of an earlier sitting; they come in the order of their numbers."""
        self._study.add_trial(self._copy(trial, second, is_worst=too_slow or diverged))

    def end(
        self,
        trial: FrozenTrial,
        second: float | None,
        *,
        too_slow: bool = False,
        diverged: bool = False,
    ) -> None:
        """Takes in how a trial of this sitting ended.

        One that diverged, or was too slow to be trained, counts here as the worst that there is, so
        that the sampler keeps away from such: it did fail for what was proposed. Of other failures
        it learns nothing, and nowhere else do these count as results.
        """
        copy = self._copy(trial, second, is_worst=too_slow or diverged)
        # Not `Study.tell`, which takes a pruned trial's value from nowhere but its reports.
        storage, study_id = self._study._storage, self._study._study_id
        trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
        for step, value in copy.intermediate_values.items():
            storage.set_trial_intermediate_value(trial_id, step, value)
        storage.set_trial_state_values(trial_id, copy.state, copy.values)

    def _worst(self) -> list[float] | None:
        """The values of a trial that is the worst: nothing right, and as dear as the dearest.

        None where of two objectives nothing is known of the second yet.
        """
        if not self._two:
            return [0.0]
        known = [
            trial.values[1] for trial in self._study.get_trials(deepcopy=False) if trial.values
        ]
        return [0.0, max(known)] if known else None

    def _copy(self, trial: FrozenTrial, second: float | None, *, is_worst: bool) -> FrozenTrial:
        state, values = trial.state, trial.values
        if is_worst and (worst := self._worst()) is not None:
            state, values = TrialState.COMPLETE, worst
        elif self._two and state in (TrialState.COMPLETE, TrialState.PRUNED):
            # Optuna has no pruned trials of two objectives: they count with what they reached.
            # Both measures are ratios, so it is their logarithm that is even.
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
        )
