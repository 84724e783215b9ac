"""Small, seeded runs of `tests/benchmarks/bench_statistics.py`: figures against the truth.

The full run has more cells and more studies; what is asserted here is what a few studies can tell.
"""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
N_STUDIES = 8


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    """The script, and beside it the simulator that it imports."""
    loaded = [_load(name) for name in ("simulated_studies", "bench_statistics")]
    return loaded[-1]


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def studies(bench: ModuleType) -> list[tuple[Any, list[Any]]]:
    """Studies of the typical world, each with the eight best trials as finalists."""
    made = []
    for seed in range(N_STUDIES):
        study = bench.Simulated(bench.WORLDS["typical"], seed=seed)
        made.append((study, [study.finalist(number) for number in study.ranked()[:8]]))
    return made


@pytest.mark.parametrize("n_members", [1, 5])
def test_the_expected_accuracy_is_nearer_to_the_truth_than_the_plain_one(
    bench: ModuleType, n_members: int
) -> None:
    """Where the vote of M members goes from 1 to K networks this is 5 points too high.

    Of so many studies, as 8 or 40 do not tell which error of 3 points is the smaller one.
    """
    world = replace(bench.WORLDS["typical"], n_test_groups=60)
    plain, expected, gain = [], [], []
    for seed in range(160):
        study = bench.Simulated(world, seed=seed)
        every = [study.finalist(number) for number in study.ranked()[:8]]
        plain.append(bench.beliefs(study, every[:n_members])["out of fold"])
        error, of_gain = bench.expectation(study, every, n_members)
        expected.append(error)
        gain.append(of_gain)
    assert abs(np.mean(expected)) < abs(np.mean(plain))
    assert np.mean(np.abs(expected)) < np.mean(np.abs(plain))
    assert abs(np.mean(gain)) < 0.01


def test_sets_hold_the_true_class_as_often_as_was_wanted(
    bench: ModuleType, studies: list[tuple[Any, list[Any]]]
) -> None:
    """Without the gain that used to be given away: 35 % of studies and more were a point short."""
    found = [bench.sets_of(study, every, 5) for study, every in studies]
    coverage = np.array([one["coverage"] for one in found])
    assert coverage.mean() >= bench.WANTED
    assert np.mean(coverage < bench.WANTED - 0.01) <= 0.25
    assert np.mean([one["size"] for one in found]) < 4  # of 8 classes: not bought by naming all


@pytest.mark.parametrize("n_members", [1, 2, 5])
def test_calibration_brings_confidence_nearer_to_accuracy(
    bench: ModuleType, studies: list[tuple[Any, list[Any]]], n_members: int
) -> None:
    """A mean over folds is more timid than the rows that a temperature is learnt on: at that very
    temperature one member's calibration error went up, from 0.07 to 0.12."""
    found = [bench.sets_of(study, every, n_members) for study, every in studies]
    assert np.mean([one["after"] for one in found]) < np.mean([one["before"] for one in found])


def test_trials_said_again_are_too_good_on_the_fold_that_chose_them(
    bench: ModuleType, studies: list[tuple[Any, list[Any]]]
) -> None:
    """Why finalists have seeds of their own."""
    gaps = []
    for study, every in studies:
        labels = study.labels[study.fold0]
        for one in every[:6]:
            again = bench.right(one.validation, labels)
            gaps.append(again - bench.right(one.out_of_fold[study.fold0], labels))
    assert np.mean(gaps) > 0.02


def test_the_bias_of_the_choice_is_taken_from_what_is_expected(bench: ModuleType) -> None:
    """Where configurations have errors of their own, fresh seeds alone leave a point too much."""
    world = replace(bench.WORLDS["own errors"], n_test_groups=60)
    found = [bench.choice_of(bench.Simulated(world, seed=seed), 6, seed=seed) for seed in range(40)]
    plain, told, rest = (
        float(np.mean([one[key] for one in found]))
        for key in ("fresh seeds", "less the bias", "without fold 0")
    )
    assert plain > 0.007
    assert abs(told) < 0.005
    assert abs(told - rest) < 0.01  # which costs a fifth of the rows


@pytest.mark.parametrize("n_groups", [5, 10, 20, 40])
def test_intervals_cover_where_accuracy_is_high_and_groups_hang_together(
    bench: ModuleType, n_groups: int
) -> None:
    """Draws of groups covered 0.56, 0.82, 0.86 and 0.90 here."""
    rng = np.random.default_rng(n_groups)
    share, width = bench.coverage_of_share(0.95, 0.2, n_groups, n_sets=300, rng=rng)
    lead, _ = bench.coverage_of_lead(0.08, 0.75, 0.2, n_groups, n_sets=300, rng=rng)
    assert min(share, lead) >= 0.93
    assert width < 1.2 / np.sqrt(n_groups)


def test_choosing_by_the_calibrated_loss_too_finds_better_finalists(bench: ModuleType) -> None:
    """The best accuracies of one small fold are the luckiest: a vote of others is better."""
    world = replace(bench.WORLDS["typical"], n_groups=10, n_test_groups=60)
    gains = []
    for seed in range(10):
        found = bench.curse_of(bench.Simulated(world, seed=seed), 4)
        gains.append(found["calibrated loss, too"])
        assert found["a member is believed too good by"] > -0.1
    assert np.mean(gains) > 0


@pytest.mark.parametrize("key", ["disagreement", "entropy"])
def test_of_new_tracks_at_most_one_in_a_hundred_is_flagged(
    bench: ModuleType, studies: list[tuple[Any, list[Any]]], key: str
) -> None:
    """The limit of one network's out-of-fold rows, as it was, flags less than half as many."""
    found = [bench.flags_of(study, every) for study, every in studies]
    share, before = (
        np.mean([f[f"{key}, {way}"] for f in found]) for way in ("80 tracks", "one network's")
    )
    assert 2 * before < share < 0.012
