"""The sampler `nsga2`: a child of two good trials, one at a time, in a conditional space.

Optuna's own crosses over only what all trials have in common, which in a space of several
architectures is next to nothing. Here a child takes each parameter from one of its parents, and
what neither has is drawn evenly. It knows no generations: parents are the best of all trials that
have ended, so it never waits for the slowest.

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

from chorale.datasets.seeds import Purpose, seed_of
from chorale.search.config.distributions import from_optuna
from chorale.search.config.narrowing import contains
from chorale.search.ledger.pareto import crowding, ranks
from chorale.search.study.samplers.quasi_random import from_unit, to_unit

N_PARENTS = 20
"""Children have their parents among so many of the best trials."""

MUTATION = 0.1
"""Each parameter of a child changes with at least this probability."""

STRIDE = 0.2
"""How far a number moves when it changes: the standard deviation, as a share of its range."""


class GeneticSampler(BaseSampler):
    """Breeds one trial. `Study` may have one objective or two."""

    def __init__(self, *, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._rest = RandomSampler(seed=seed_of(seed, Purpose.REST))

    def infer_relative_search_space(
        self,
        study: Study,
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """All that any of the best trials has."""
        return {
            name: distribution
            for parent in parents(study)
            for name, distribution in parent.distributions.items()
        }

    def sample_relative(
        self,
        study: Study,
        trial: FrozenTrial,  # noqa: ARG002
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        """The child; it may have values of both parents' architectures, of which one set counts."""
        pool = parents(study)
        if not pool:
            return {}
        couple = [self._tournament(pool), self._tournament(pool)]
        n_typical = max(1, len(couple[0].params))
        child = {}
        for name in sorted(couple[0].params.keys() | couple[1].params.keys()):
            owners = [parent for parent in couple if name in parent.params]
            value = owners[int(self._rng.integers(len(owners)))].params[name]
            distribution = search_space[name]
            if self._rng.random() < max(MUTATION, 1 / n_typical):
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
        """What neither parent has."""
        return self._rest.sample_independent(study, trial, param_name, param_distribution)

    def _tournament(self, pool: list[FrozenTrial]) -> FrozenTrial:
        """The better of two that are drawn; the pool is sorted, best first."""
        return pool[int(self._rng.integers(len(pool), size=2).min())]

    def _mutated(self, distribution: BaseDistribution, value: Any) -> Any:
        if isinstance(distribution, CategoricalDistribution):
            return from_unit(distribution, float(self._rng.random()))
        place = to_unit(distribution, value) + STRIDE * float(self._rng.standard_normal())
        return from_unit(distribution, min(max(place, 0.0), math.nextafter(1.0, 0.0)))


def parents(study: Study) -> list[FrozenTrial]:
    """The best trials that have a value, best first: by front, then by how alone they stand."""
    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    valued = [trial for trial in ended if trial.values]
    signs = [-1.0 if d == StudyDirection.MAXIMIZE else 1.0 for d in study.directions]
    losses = [tuple(s * v for s, v in zip(signs, t.values, strict=True)) for t in valued]
    if not losses:
        return []
    rank, alone = ranks(losses), crowding(losses)
    # A trial that was stopped early stands behind every one that came to its end.
    order = sorted(
        range(len(valued)),
        key=lambda i: (valued[i].state != TrialState.COMPLETE, rank[i], -alone[i], i),
    )
    return [valued[i] for i in order[:N_PARENTS]]
