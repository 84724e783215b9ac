"""Simulations with known truth: small, seeded runs of `tests/benchmarks/bench_statistics.py`.

The full run has more cells and more studies; here only effects that a few studies show are tested.
"""

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest

N_STUDIES = 8


@pytest.fixture(scope="module")
def bench(load_benchmark: Callable[[str], ModuleType]) -> ModuleType:
    return load_benchmark("bench_statistics")


@pytest.fixture(scope="module")
def studies(bench: ModuleType) -> list[tuple[Any, list[Any]]]:
    """Studies of the "typical" setting, each with the eight best trials as finalists."""
    made = []
    for seed in range(N_STUDIES):
        study = bench.SimulatedStudy(bench.SETTINGS["typical"], seed=seed)
        made.append((study, [study.finalist(number) for number in study.ranked()[:8]]))
    return made


@pytest.fixture(scope="module")
def errors(bench: ModuleType) -> dict[int, list[tuple[float, float, float]]]:
    """Number of members -> out-of-fold error, error of the expected accuracy, and of the gain.

    Of 80 studies, as 8 or 40 cannot rank two errors of 3 points.
    """
    setting = replace(bench.SETTINGS["typical"], n_test_groups=60)
    found: dict[int, list[tuple[float, float, float]]] = {1: [], 5: []}
    for seed in range(80):
        study = bench.SimulatedStudy(setting, seed=seed)
        every = [study.finalist(number) for number in study.ranked()[:8]]
        for n_members, rows in found.items():
            plain = bench.plain_errors(study, every[:n_members])["out of fold"]
            rows.append((plain, *bench.expected_errors(study, every, n_members)))
    return found


@pytest.mark.parametrize("n_members", [1, 5])
def test_the_expected_accuracy_is_closer_to_the_truth_than_the_out_of_fold_one(
    errors: dict[int, list[tuple[float, float, float]]], n_members: int
) -> None:
    """Were the gain taken from the vote of M members at 1 and K networks, it would be 5 points too
    high.
    """
    plain, expected, gain = np.array(errors[n_members]).T
    assert abs(np.mean(expected)) < abs(np.mean(plain))
    assert np.mean(np.abs(expected)) < np.mean(np.abs(plain))
    assert abs(np.mean(gain)) < 0.01


def test_conformal_sets_reach_the_requested_coverage(
    bench: ModuleType, studies: list[tuple[Any, list[Any]]]
) -> None:
    """When the gain was not used, 35 % of studies and more were a point below the request."""
    found = [bench.conformal_figures(study, every, 5) for study, every in studies]
    coverage = np.array([one["coverage"] for one in found])
    assert coverage.mean() >= bench.COVERAGE
    assert np.mean(coverage < bench.COVERAGE - 0.01) <= 0.25
    assert np.mean([one["size"] for one in found]) < 4  # of 8 classes


@pytest.mark.parametrize("n_members", [1, 2, 5])
def test_calibration_lowers_the_calibration_error(
    bench: ModuleType, studies: list[tuple[Any, list[Any]]], n_members: int
) -> None:
    """A mean over folds is less confident than the rows that the temperature is fitted on: without
    the ratio, one member's calibration error rose from 0.07 to 0.12."""
    found = [bench.conformal_figures(study, every, n_members) for study, every in studies]
    assert np.mean([one["after"] for one in found]) < np.mean([one["before"] for one in found])


def test_a_trials_own_predictions_are_biased_on_the_search_fold(
    bench: ModuleType, studies: list[tuple[Any, list[Any]]]
) -> None:
    """The reason why finalists are retrained with other seeds."""
    gaps = []
    for study, every in studies:
        labels = study.labels[study.fold0]
        for one in every[:6]:
            again = bench.accuracy(one.validation, labels)
            gaps.append(again - bench.accuracy(one.out_of_fold[study.fold0], labels))
    assert np.mean(gaps) > 0.02


def test_subtracting_the_selection_bias_makes_the_estimate_unbiased(bench: ModuleType) -> None:
    """Where configurations have errors of their own, new seeds alone leave a bias of a point."""
    setting = replace(bench.SETTINGS["configuration errors"], n_test_groups=60)
    found = [
        bench.choice_biases(bench.SimulatedStudy(setting, seed=seed), 6, seed=seed)
        for seed in range(40)
    ]
    plain, corrected, rest = (
        float(np.mean([one[key] for one in found]))
        for key in ("fresh seeds", "bias subtracted", "without fold 0")
    )
    assert plain > 0.007
    assert abs(corrected) < 0.005
    assert abs(corrected - rest) < 0.01  # which costs a fifth of the rows


def test_several_seeds_leave_the_bias_and_the_flagged_share_as_they_are(
    load_benchmark: Callable[[str], ModuleType], bench: ModuleType
) -> None:
    """From means over seeds, the bias grew and up to three times as many tracks were flagged."""
    seeds = load_benchmark("bench_seeds")
    setting = replace(bench.SETTINGS["typical"], n_test_groups=60)
    found = [
        (
            seeds.figures(bench.SimulatedStudy(setting, seed=seed), (3, 3, 3, 3, 3)),
            seeds.figures(bench.SimulatedStudy(setting, seed=seed), (1, 1, 1, 1, 1)),
        )
        for seed in range(20)
    ]
    several, single = (
        {key: float(np.mean([one[i][key] for one in found])) for key in found[0][i]} for i in (0, 1)
    )
    gained = several["expected, means"] - several["expected, first seeds"]
    assert gained > 0.001  # of accuracy that the selection did not cost
    assert abs(several["expected, first seeds"] - single["expected, first seeds"]) < 0.01
    assert several["flagged, single networks"] < 0.01
    assert several["flagged, means"] > 2 * several["flagged, single networks"]


@pytest.mark.parametrize("n_groups", [5, 10, 20, 40])
def test_intervals_cover_at_high_accuracy_and_correlated_groups(
    bench: ModuleType, n_groups: int
) -> None:
    """The group bootstrap covered 0.56, 0.82, 0.86 and 0.90 here."""
    rng = np.random.default_rng(n_groups)
    share, width = bench.coverage_of_share(0.95, 0.2, n_groups, n_sets=300, rng=rng)
    lead, _ = bench.coverage_of_lead(0.08, 0.75, 0.2, n_groups, n_sets=300, rng=rng)
    assert min(share, lead) >= 0.93
    assert width < 1.2 / np.sqrt(n_groups)


def test_ranking_also_by_the_calibrated_loss_finds_better_finalists(bench: ModuleType) -> None:
    """The best accuracies on one small fold are partly luck (the winner's curse)."""
    setting = replace(bench.SETTINGS["typical"], n_groups=10, n_test_groups=60)
    gains = []
    for seed in range(10):
        found = bench.finalist_choices(bench.SimulatedStudy(setting, seed=seed), 4)
        gains.append(found["objective and calibrated loss"])
        assert found["optimism of a single member"] > -0.1
    assert np.mean(gains) > 0


@pytest.mark.parametrize("key", ["disagreement", "entropy"])
def test_at_most_one_in_a_hundred_new_tracks_is_flagged(
    bench: ModuleType, studies: list[tuple[Any, list[Any]]], key: str
) -> None:
    """A limit from one network's out-of-fold rows flags less than half as many."""
    found = [bench.flagged_shares(study, every) for study, every in studies]
    share, before = (
        np.mean([f[f"{key}, {way}"] for f in found]) for way in ("80 tracks", "one network's")
    )
    assert 2 * before < share < 0.012


@pytest.mark.parametrize(("wanted", "n_groups"), [(0.8, 10), (0.9, 20)])
def test_sets_of_several_labels_hold_the_requested_share(
    bench: ModuleType, wanted: float, n_groups: int
) -> None:
    setting = bench.LabelSetting(n_groups, icc=0.3)
    share, error, size = bench.set_coverage(setting, wanted, n_sets=60, seed=1)
    assert wanted - 2 * error <= share < wanted + 0.1
    assert size < 4.5  # of 6 labels


@pytest.mark.parametrize("n_groups", [10, 60])
def test_thresholds_of_each_label_find_more_than_a_common_one_or_one_half(
    bench: ModuleType, n_groups: int
) -> None:
    """Unshrunk ones were 0.7 points worse than a common one with 10 groups."""
    found = bench.threshold_gains(bench.LabelSetting(n_groups, skill=1.5), n_sets=60, seed=1)
    for other in ("half", "common"):
        gain = found["each"] - found[other]
        assert gain.mean() > 1.96 * gain.std() / np.sqrt(len(gain))


@pytest.mark.parametrize("n_groups", [5, 20])
def test_intervals_of_an_map_cover_that_of_other_test_sets(
    bench: ModuleType, n_groups: int
) -> None:
    """Without a prior of the standard error, those of five groups were half as wide again."""
    setting = bench.LabelSetting(n_groups, n_labels=4, icc=0.3)
    found = bench.map_coverage(setting, n_sets=100, seed=n_groups)
    assert found["interval"] >= 0.9  # 0.93 of 100; less has a probability of 2 %
    assert found["difference"] >= 0.9
    assert found["width"] < 1.15 / np.sqrt(n_groups)


def test_a_difference_of_maps_covers_where_few_rows_are_ranked_wrongly(bench: ModuleType) -> None:
    """Without a prior of the standard error it covered 0.925 here, with wider intervals."""
    setting = bench.LabelSetting(10, n_labels=4, icc=0.1, skill=3.0)
    found = bench.map_coverage(setting, n_sets=120, seed=10)
    assert found["difference"] >= 0.94
    assert found["difference_width"] < 0.25


def test_the_expected_map_is_closer_to_the_truth_than_the_out_of_fold_one(
    bench: ModuleType,
) -> None:
    """Of 100 rows it is 12 points too low for 20 test rows of a mean of five networks."""
    setting = bench.studies_of(10, 4, 2.0)
    found = [bench.map_errors(setting, n_members=(1,), seed=seed)[1] for seed in range(10)]
    plain, expected, gain = (
        np.array([one[key] for one in found]) for key in ("out of fold", "expected", "gain")
    )
    assert plain.mean() < -0.05
    assert abs(expected.mean()) < 0.03
    assert np.abs(expected).mean() < np.abs(plain).mean()
    assert abs(gain.mean()) < 0.02


def test_the_ratio_of_averaging_over_folds_calibrates_several_labels(bench: ModuleType) -> None:
    found = [
        bench.temperature_gains(bench.studies_of(20, 6, 1.0), n_members=(1,), seed=seed)[1]
        for seed in range(8)
    ]
    for key in ("log_loss", "ece"):
        assert np.mean([one[key] for one in found]) < 0
    assert 0.6 < np.mean([one["ratio"] for one in found]) < 0.95


def test_the_selection_bias_of_the_kind_of_ensemble_is_estimated_for_several_labels(
    bench: ModuleType,
) -> None:
    setting = replace(bench.studies_of(20, 10, 1.0), n_trials=8)
    found = [bench.kind_biases(setting, seed=seed) for seed in range(3)]
    estimate, truth = (np.mean([one[key] for one in found]) for key in ("estimate", "truth"))
    assert estimate > 0.001
    assert abs(estimate - truth) < 0.01
