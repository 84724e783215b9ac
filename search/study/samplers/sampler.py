"""What proposes a trial: known-good points, then quasi-random ones, then a model.

Each trial has a sampler of its own, seeded by the sweep's seed and the trial's number. No generator
lives from trial to trial, so an interrupted study goes on exactly as if nothing had happened.
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

from chorale.datasets.seeds import Purpose, seed_of
from chorale.search.config.distributions import from_optuna
from chorale.search.config.narrowing import contains
from chorale.search.config.schema import Search
from chorale.search.config.space import ARCHITECTURE, SearchSpace
from chorale.search.study.initial_points import FEWEST_FOR_A_MODEL, Opening
from chorale.search.study.samplers.gaussian_process import GaussianSampler
from chorale.search.study.samplers.genetic import GeneticSampler
from chorale.search.study.samplers.quasi_random import ByName, QuasiRandomSampler

Make = Callable[[int], BaseSampler]
"""Makes a sampler from a seed."""


class NumberedSampler(BaseSampler):
    """Hands trial n to what is to propose it: its opening point, a quasi-random one, or a model."""

    def __init__(self, space: SearchSpace, search: Search, opening: Opening) -> None:
        self._seed, self._opening = search.seed, opening
        self._even = QuasiRandomSampler(
            space.names(), seed=seed_of(search.seed, Purpose.QUASI_RANDOM)
        )
        self._make = _maker(space, search, self._even)
        self._latest: tuple[int, BaseSampler] | None = None

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """What the trial's sampler proposes together."""
        self._latest = (trial.number, self._sampler(trial.number))
        return self._latest[1].infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The values of these."""
        number, sampler = self._latest or (-1, self._even)
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
        """A value by itself, from a seed of its own: what was drawn before does not matter."""
        sampler = self._sampler(trial.number, param_name)
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def _sampler(self, number: int, name: str = "") -> BaseSampler:
        if number < len(self._opening.points):
            return _PointSampler(self._opening.points[number], self._even)
        if number < len(self._opening.points) + self._opening.n_quasi_random:
            return self._even
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return self._make(
                seed_of(self._seed, Purpose.PROPOSAL, number, zlib.crc32(name.encode()))
            )


class _PointSampler(ByName):
    """A known point; what it leaves open, or what is not in the space, is drawn by `rest`."""

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
    """Optuna's, but of all architectures' parameters only those of the one that was drawn.

    What all trials share is drawn first, and together with the architecture.
    """

    def __init__(self, space: SearchSpace, **options: Any) -> None:
        super().__init__(**options)
        self._space = space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        groups = self._search_space_group.search_spaces if self._search_space_group else []
        shared = next((group for group in groups if ARCHITECTURE in group), {})
        first = {name: one for name, one in search_space.items() if name in shared}
        point = super().sample_relative(study, trial, first)
        branch = self._space.flat(point.get(ARCHITECTURE, self._space.architectures[0]))
        rest = {n: one for n, one in search_space.items() if n in branch and n not in first}
        return point | super().sample_relative(study, trial, rest)


def _maker(space: SearchSpace, search: Search, even: BaseSampler) -> Make:
    """What comes after the opening."""

    def random(seed: int) -> BaseSampler:
        return RandomSampler(seed=seed)

    def qmc(seed: int) -> BaseSampler:  # noqa: ARG001
        return even

    def tpe(seed: int) -> BaseSampler:
        return _BranchTPESampler(
            space,
            seed=seed,
            multivariate=True,
            group=True,
            constant_liar=True,
            n_startup_trials=FEWEST_FOR_A_MODEL,
        )

    def gp(seed: int) -> BaseSampler:
        chooser = tpe(seed_of(seed, Purpose.ARCHITECTURE))
        return GaussianSampler(space, seed=seed, chooser=chooser, rest=even)

    def nsga2(seed: int) -> BaseSampler:
        return GeneticSampler(seed=seed)

    makers: dict[str, Make] = {"tpe": tpe, "random": random, "qmc": qmc, "gp": gp, "nsga2": nsga2}
    return makers.get(search.sampler, qmc)
