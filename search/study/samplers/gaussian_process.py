"""The sampler `gp`: a Gaussian process for each architecture, in a conditional space.

Optuna's `GPSampler` models only parameters that all trials have. Here the architecture is chosen
first, and its process models all parameters that can exist under it; a parameter that a trial
lacked is imputed as its lowest value or first choice, where it is "off".

Source: Jones, Schonlau and Welch 1998, "Efficient global optimization of expensive black-box
functions", doi:10.1023/A:1008306431147; the imputation as in Hutter, Hoos and Leyton-Brown 2011,
"Sequential model-based optimization for general algorithm configuration",
doi:10.1007/978-3-642-25566-3_40.
"""

import warnings
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, GPSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from chorale.search.config.space import ARCHITECTURE, SearchSpace

N_STARTUP_TRIALS = 5
"""An architecture has a Gaussian process once it has this many finished trials."""


class GaussianSampler(BaseSampler):
    """Proposes one trial; `chooser` draws the architecture, `rest` all values without a process."""

    def __init__(
        self, space: SearchSpace, *, seed: int, chooser: BaseSampler, rest: BaseSampler
    ) -> None:
        self._space, self._seed, self._chooser, self._rest = space, seed, chooser, rest
        self._point: dict[str, Any] = {}

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The architecture, and all parameters that can exist under it."""
        choices = CategoricalDistribution(self._space.architectures)
        architecture = self._chooser.sample_independent(study, trial, ARCHITECTURE, choices)
        flat = self._space.flat(architecture)
        self._point = {ARCHITECTURE: architecture} | self._propose(study, architecture, flat)
        return {ARCHITECTURE: choices, **flat}

    def sample_relative(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
        search_space: dict[str, BaseDistribution],  # noqa: ARG002
    ) -> dict[str, Any]:
        """The process's proposal; only the architecture where there is no process yet."""
        return self._point

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A value that no process proposes."""
        return self._rest.sample_independent(study, trial, param_name, param_distribution)

    def _propose(
        self, study: Study, architecture: str, flat: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        mine = [
            trial
            for trial in study.get_trials(deepcopy=False)
            if trial.params.get(ARCHITECTURE) == architecture
            and (trial.state == TrialState.RUNNING or trial.values)
        ]
        if sum(trial.state != TrialState.RUNNING for trial in mine) < N_STARTUP_TRIALS:
            return {}
        sampler = GPSampler(
            seed=self._seed, n_startup_trials=N_STARTUP_TRIALS, warn_independent_sampling=False
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            process = optuna.create_study(directions=study.directions, sampler=sampler)
            process.add_trials([_filled(trial, flat) for trial in mine])
            return process.ask(flat).params


def _filled(trial: FrozenTrial, flat: dict[str, BaseDistribution]) -> FrozenTrial:
    """The trial as a point of the flat space. A pruned trial counts with its last value."""
    running = trial.state == TrialState.RUNNING
    return create_trial(
        state=TrialState.RUNNING if running else TrialState.COMPLETE,
        params={name: trial.params.get(name, _off(one)) for name, one in flat.items()},
        distributions=flat,
        values=None if running else trial.values,
    )


def _off(distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    return distribution.low  # type: ignore[attr-defined]
