"""The study's sampler: known-good points first, then quasi-random ones, then a model such as TPE.

Each trial has a sampler of its own, seeded by the sweep's seed and the trial's number. No random
state lives from trial to trial, so a resumed study proposes exactly the same trials.
"""

import warnings
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from chorale.datasets.seeds import Purpose, derive_seed
from chorale.search.config.distributions import from_optuna
from chorale.search.config.narrowing import contains
from chorale.search.config.schema import SearchConfig
from chorale.search.config.space import ARCHITECTURE, SearchSpace
from chorale.search.ledger._optuna import search_space_groups
from chorale.search.study.initial_points import MIN_TRIALS_FOR_MODEL, InitialPoints
from chorale.search.study.samplers.gaussian_process import GaussianSampler
from chorale.search.study.samplers.genetic import GeneticSampler
from chorale.search.study.samplers.quasi_random import IndependentSampler, QuasiRandomSampler

SamplerFactory = Callable[[int], BaseSampler]
"""Makes a sampler from a seed."""


class NumberedSampler(BaseSampler):
    """Delegates trial n by its number: to its initial point, a quasi-random one, or a model."""

    def __init__(self, space: SearchSpace, search: SearchConfig, initial: InitialPoints) -> None:
        self._seed, self._initial = search.seed, initial
        self._quasi_random = QuasiRandomSampler(
            space.names(), seed=derive_seed(search.seed, Purpose.QUASI_RANDOM)
        )
        self._make = _sampler_factory(space, search, self._quasi_random)
        self._latest: tuple[int, BaseSampler] | None = None

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The parameters that the trial's sampler proposes jointly."""
        self._latest = (trial.number, self._sampler(trial.number))
        return self._latest[1].infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The values of these parameters."""
        number, sampler = self._latest or (-1, self._quasi_random)
        if number != trial.number:
            raise RuntimeError(f"trial {trial.number} was sampled before its space was asked for")
        return sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A single value, with a seed of its own: it does not depend on earlier draws."""
        sampler = self._sampler(trial.number, param_name)
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def _sampler(self, number: int, name: str = "") -> BaseSampler:
        if number < len(self._initial.points):
            return _PointSampler(self._initial.points[number], self._quasi_random)
        if number < len(self._initial.points) + self._initial.n_quasi_random:
            return self._quasi_random
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return self._make(
                derive_seed(self._seed, Purpose.PROPOSAL, number, zlib.crc32(name.encode()))
            )


class _PointSampler(IndependentSampler):
    """A known point; `rest` draws values that it lacks or that are outside the space."""

    def __init__(self, point: Mapping[str, Any], rest: BaseSampler) -> None:
        self._point, self._rest = point, rest

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        value = self._point.get(param_name)
        if param_name in self._point and contains(from_optuna(param_distribution), value):
            return value
        return self._rest.sample_independent(study, trial, param_name, param_distribution)


class _BranchTPESampler(TPESampler):
    """Optuna's TPE, which models only the parameters of the architecture that it has drawn.

    Parameters shared by all trials are drawn first, jointly with the architecture.
    """

    def __init__(self, space: SearchSpace, **options: Any) -> None:
        super().__init__(**options)
        self._space = space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        shared = next((group for group in search_space_groups(self) if ARCHITECTURE in group), {})
        first = {name: one for name, one in search_space.items() if name in shared}
        point = super().sample_relative(study, trial, first)
        branch = self._space.flat(point.get(ARCHITECTURE, self._space.architectures[0]))
        rest = {n: one for n, one in search_space.items() if n in branch and n not in first}
        return point | super().sample_relative(study, trial, rest)


def _sampler_factory(
    space: SearchSpace, search: SearchConfig, quasi_random: BaseSampler
) -> SamplerFactory:
    """The factory of samplers for the trials after the initial points."""

    def random(seed: int) -> BaseSampler:
        return RandomSampler(seed=seed)

    def qmc(seed: int) -> BaseSampler:  # noqa: ARG001
        return quasi_random

    def tpe(seed: int) -> BaseSampler:
        return _BranchTPESampler(
            space,
            seed=seed,
            multivariate=True,
            group=True,
            constant_liar=True,
            n_startup_trials=MIN_TRIALS_FOR_MODEL,
        )

    def gp(seed: int) -> BaseSampler:
        chooser = tpe(derive_seed(seed, Purpose.ARCHITECTURE))
        return GaussianSampler(space, seed=seed, chooser=chooser, rest=quasi_random)

    def nsga2(seed: int) -> BaseSampler:
        return GeneticSampler(seed=seed)

    makers: dict[str, SamplerFactory] = {
        "tpe": tpe,
        "random": random,
        "qmc": qmc,
        "gp": gp,
        "nsga2": nsga2,
    }
    return makers.get(search.sampler, qmc)
