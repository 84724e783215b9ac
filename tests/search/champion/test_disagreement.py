"""How often a recording like the others is flagged as none of the classes."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from chorale.search.champion.disagreement import (
    disagreement,
    entropy,
    usual_limit,
    usual_limit_of_means,
)

N_TEST, N_FOLDS, N_STUDIES = 150, 3, 12
Measure = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="module")
def simulated() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "simulated_studies.py"
    spec = importlib.util.spec_from_file_location("simulated_studies", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["simulated_studies"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("n_values", "limit"), [(1, 0), (50, 49), (98, 97), (99, 98), (199, 197), (1000, 990)]
)
def test_one_of_a_hundred_new_values_is_above(n_values: int, limit: int) -> None:
    values = np.random.default_rng(0).permutation(n_values).astype(float)
    assert usual_limit(values) == limit


@pytest.mark.parametrize("measure", [disagreement, lambda said: entropy(said[0])])
def test_of_new_tracks_at_most_one_in_a_hundred_is_flagged(
    simulated: ModuleType, measure: Measure
) -> None:
    """By the limit of one network's out-of-fold rows it is one in a thousand."""
    shares, by_one_network = [], []
    for seed in range(N_STUDIES):
        study = simulated.Simulated(simulated.WORLDS["typical"], seed=seed)
        members = [study.finalist(number) for number in study.ranked()[:4]]
        test = np.stack([one.test[:N_FOLDS] for one in members], axis=1)  # folds first
        each = np.stack([measure(said) for said in test])
        means = each.mean(axis=0)
        out_of_fold = measure(np.stack([one.out_of_fold for one in members]))
        limit = usual_limit_of_means(out_of_fold, each[:, :N_TEST])
        shares.append(np.mean(means[N_TEST:] > limit))
        by_one_network.append(np.mean(means > usual_limit(out_of_fold)))
    assert 2 * np.mean(by_one_network) < np.mean(shares) < 0.012


def test_who_never_disagrees_is_never_above() -> None:
    assert usual_limit_of_means(np.zeros(8), np.zeros((3, 5))) == 0
