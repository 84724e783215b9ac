"""The sampler `nsga2`: a steady-state genetic algorithm in a conditional search space.

Optuna's `NSGAIISampler` crosses over only parameters that all trials have, which are very few in a
space of several architectures. Here a child takes each parameter from one of its two parents, and
parameters that neither has are drawn uniformly. There are no generations: parents are the best of
all trials that have ended, so a proposal never waits for the slowest trial.

Source: Deb et al. 2002, "A fast and elitist multiobjective genetic algorithm: NSGA-II",
doi:10.1109/4235.996017 (ranking, crowding, tournament).
"""

import math
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from chorale.datasets.seeds import Purpose, derive_seed
from chorale.search.config.distributions import from_optuna
from chorale.search.config.narrowing import contains
from chorale.search.ledger.pareto import crowding_distances, pareto_ranks
from chorale.search.study.samplers.quasi_random import from_unit, to_unit

N_PARENTS = 20
"""Parents are chosen from this many of the best trials."""

MUTATION_PROBABILITY = 0.1
"""Each parameter of a child mutates with at least this probability."""

MUTATION_STD = 0.2
"""The standard deviation of a number's mutation, as a share of its range."""


class GeneticSampler(BaseSampler):
    """Proposes one child. The study may have one or two objectives."""

    def __init__(self, *, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._rest = RandomSampler(seed=derive_seed(seed, Purpose.GENETIC))

    def infer_relative_search_space(
        self,
        study: Study,
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """All parameters of the best trials."""
        return {
            name: distribution
            for parent in best_parents(study)
            for name, distribution in parent.distributions.items()
        }

    def sample_relative(
        self,
        study: Study,
        trial: FrozenTrial,  # noqa: ARG002
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        """The child. It may have parameters of both parents' architectures; one set is used."""
        pool = best_parents(study)
        if not pool:
            return {}
        couple = [self._tournament(pool), self._tournament(pool)]
        n_typical = max(1, len(couple[0].params))
        child = {}
        for name in sorted(couple[0].params.keys() | couple[1].params.keys()):
            owners = [parent for parent in couple if name in parent.params]
            value = owners[int(self._rng.integers(len(owners)))].params[name]
            distribution = search_space[name]
            if self._rng.random() < max(MUTATION_PROBABILITY, 1 / n_typical):
                value = self._mutated(distribution, value)
            if contains(from_optuna(distribution), value):
                child[name] = value
        return child

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A parameter that neither parent has."""
        return self._rest.sample_independent(study, trial, param_name, param_distribution)

    def _tournament(self, pool: list[FrozenTrial]) -> FrozenTrial:
        """Binary tournament: the better of two random trials of the pool, which is best first."""
        return pool[int(self._rng.integers(len(pool), size=2).min())]

    def _mutated(self, distribution: BaseDistribution, value: Any) -> Any:
        if isinstance(distribution, CategoricalDistribution):
            return from_unit(distribution, float(self._rng.random()))
        place = to_unit(distribution, value) + MUTATION_STD * float(self._rng.standard_normal())
        return from_unit(distribution, min(max(place, 0.0), math.nextafter(1.0, 0.0)))


def best_parents(study: Study) -> list[FrozenTrial]:
    """The best trials with a value, best first: by Pareto rank, then by crowding distance.

    Those that exceed a constraint are parents only where all do, the least excess first.
    """
    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    valued = [trial for trial in ended if trial.values]
    valued = [trial for trial in valued if not _excess(trial)] or valued
    signs = [-1.0 if d == StudyDirection.MAXIMIZE else 1.0 for d in study.directions]
    losses = [tuple(s * v for s, v in zip(signs, t.values, strict=True)) for t in valued]
    if not losses:
        return []
    rank, crowding = pareto_ranks(losses), crowding_distances(losses)
    # A pruned trial ranks behind every complete one.
    keys = [
        (_excess(trial), trial.state != TrialState.COMPLETE, rank[i], -crowding[i], i)
        for i, trial in enumerate(valued)
    ]
    return [valued[key[-1]] for key in sorted(keys)[:N_PARENTS]]


def _excess(trial: FrozenTrial) -> float:
    """By how much a trial exceeds its constraints; 0 where it keeps to all."""
    return sum(max(0.0, excess) for excess in trial.constraints.values())
