"""Expected accuracy and alarm, in simulations with known truth."""

import numpy as np
import pytest

from chorale.search.champion.health.alarm import N_RECENT, QUIET_DAYS, ConfidenceAlarm
from chorale.search.champion.health.estimate import estimate_accuracy
from chorale.search.statistics.confidence import fit_confidence_reference
from chorale.search.statistics.confidence_reference import ConfidenceReference
from tests.benchmarks.simulated_answers import GroupedAnswers

PER_DAY = 1_000


def _reference(
    confidence: float, std: float, *, margin: float = 0.0, flagged: float = 0.0, alike: float = 0.0
) -> ConfidenceReference:
    return ConfidenceReference(
        n_tracks=500, n_groups=100, confidence=confidence, confidence_std=std,
        confidence_margin=margin, overconfidence=0.05, overconfidence_margin=0.02, flagged=flagged,
        confidence_correlation=alike, group_correlation=0.1, group_size=5.0,
    )  # fmt: skip


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_interval_contains_the_true_share_in_nearly_all_studies(
    rng: np.random.Generator,
) -> None:
    covered, errors, widths = [], [], []
    for _ in range(150):
        answers = GroupedAnswers(rng, overconfidence=0.04)
        labelled = answers.draw(n_groups=30, group_size=8)
        reference = fit_confidence_reference(labelled.proba, labelled.labels, labelled.groups)
        served = answers.draw(n_groups=25, group_size=8, harder=0.15)
        found = estimate_accuracy(served.confidence, reference)
        assert found is not None
        covered.append(found.low <= served.accuracy <= found.high)
        errors.append(found.accuracy - served.accuracy)
        widths.append(found.high - found.low)
    assert np.mean(covered) >= 0.93
    assert abs(np.mean(errors)) < 0.01, "overconfidence is subtracted"
    assert np.mean(widths) < 0.25


def test_an_interval_without_the_groups_of_held_out_tracks_would_be_too_narrow() -> None:
    confidence = np.full(400, 0.8)
    of_groups = estimate_accuracy(confidence, _reference(0.8, 0.1))
    assert of_groups is not None
    by_chance = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert (of_groups.high - of_groups.low) / 2 > 1.1 * by_chance
    assert of_groups.accuracy == pytest.approx(0.75)


def test_a_single_group_gives_no_information_about_others() -> None:
    proba, labels = np.full((20, 2), 0.5), np.zeros(20, np.int64)
    reference = fit_confidence_reference(proba, labels, np.zeros(20, np.int64))
    found = estimate_accuracy(np.full(9, 0.5), reference)
    assert found is not None
    assert (found.low, found.high) == (0.0, 1.0)


def test_the_reference_is_of_served_rows_and_of_out_of_fold_rows_with_their_gain() -> None:
    out_of_fold, served = np.tile([0.6, 0.4], (30, 1)), np.tile([0.1, 0.9], (10, 1))
    labels = np.array([0] * 15 + [1] * 15)
    found = fit_confidence_reference(
        out_of_fold, labels, np.arange(30), gain=0.1, served=(served, np.arange(10))
    )
    assert found.confidence == pytest.approx((30 * 0.7 + 10 * 0.9) / 40)
    assert found.overconfidence == pytest.approx(0.1)
    assert (found.n_tracks, found.n_groups) == (40, 40)


def _confidences(rng: np.random.Generator, mean: float, std: float, n: int) -> np.ndarray:
    k = mean * (1 - mean) / std**2 - 1
    return rng.beta(mean * k, (1 - mean) * k, n)


def test_in_quiet_days_at_most_one_false_alarm_in_30_is_raised(rng: np.random.Generator) -> None:
    n_days = 300
    alarm = ConfidenceAlarm(_reference(0.9, 0.12))
    for at, one in enumerate(_confidences(rng, 0.9, 0.12, n_days * PER_DAY)):
        alarm.observe(at * 86_400 / PER_DAY, one)
    n_alarms = alarm.state.n_alarms
    assert 0 < n_alarms <= 1.6 * n_days / QUIET_DAYS, "at most 10 are expected, and some"


@pytest.mark.parametrize(("mean", "std"), [(0.9, 0.12), (0.7, 0.22)])
def test_a_loss_of_10_points_is_flagged_within_200_answers(
    rng: np.random.Generator, mean: float, std: float
) -> None:
    delays = []
    for _ in range(20):
        alarm, before = ConfidenceAlarm(_reference(mean, std, margin=0.01)), 300
        values = np.concatenate(
            [_confidences(rng, mean, std, before), _confidences(rng, mean - 0.1, std, 2000)]
        )
        raised = (at for at, one in enumerate(values) if alarm.observe(at * 86.4, one))
        delays.append(next(at for at in raised if at >= before) - before)
    assert np.median(delays) < 150
    assert np.quantile(delays, 0.9) <= 200


def test_an_alarm_lasts_while_confidence_is_low_and_ends_after_a_quiet_time() -> None:
    alarm, at = ConfidenceAlarm(_reference(0.9, 0.1)), 0
    first = None
    for _ in range(2 * N_RECENT):
        at += 1
        if alarm.observe(at * 60.0, 0.6) and first is None:
            first = at
    assert first is not None
    assert alarm.state.since_s == first * 60.0, "since the first of several alarms"
    assert alarm.state.n_alarms > 1
    for _ in range(N_RECENT + 1):
        at += 1
        alarm.observe(at * 60.0, 0.95)
    assert not alarm.state.active
    assert alarm.state.since_s is None


def test_flagged_answers_count_as_wrong_but_for_those_that_are_flagged_anyway() -> None:
    reference = _reference(0.8, 0.1, flagged=0.02)
    usual, outside = np.full(1000, 0.8), np.full(1000, 0.8)
    usual[:20], outside[:520] = 0, 0
    found, less = estimate_accuracy(usual, reference), estimate_accuracy(outside, reference)
    assert found is not None
    assert less is not None
    assert found.accuracy == pytest.approx(reference.accuracy)
    assert less.accuracy == pytest.approx(0.48 * 0.75 + 0.02 * 0.75)


def test_twice_as_many_flagged_answers_as_expected_are_quiet_and_many_more_are_not(
    rng: np.random.Generator,
) -> None:
    n_alarms = []
    for share in (0.02, 0.15):
        alarm = ConfidenceAlarm(_reference(0.9, 0.1, flagged=0.01))
        credit = np.where(rng.random(20_000) < share, 0.0, _confidences(rng, 0.9, 0.1, 20_000))
        for at, one in enumerate(credit):
            alarm.observe(at * 86.4, one)
        n_alarms.append(alarm.state.n_alarms)
    assert n_alarms[0] <= 3
    assert n_alarms[1] > 100


def test_runs_of_alike_answers_raise_few_false_alarms_where_groups_were_alike(
    rng: np.random.Generator,
) -> None:
    n_days, run = 150, 5
    n_runs = n_days * PER_DAY // run
    of_run, own = rng.standard_normal((n_runs, 1)), rng.standard_normal((n_runs, run))
    answers = np.clip(0.7 + 0.1 * (np.sqrt(0.3) * of_run + np.sqrt(0.7) * own), 0, 1).ravel()
    n_alarms = {}
    for alike in (0.0, 0.3):
        alarm = ConfidenceAlarm(_reference(float(answers.mean()), 0.1, alike=alike))
        for at, one in enumerate(answers):
            alarm.observe(at * 86_400 / PER_DAY, one)
        n_alarms[alike] = alarm.state.n_alarms
    assert n_alarms[0.3] <= 1.6 * n_days / QUIET_DAYS
    assert n_alarms[0.0] > 2 * n_days / QUIET_DAYS, "if they were taken for independent"


def test_a_long_pause_or_a_clock_that_goes_back_raises_no_alarm() -> None:
    alarm = ConfidenceAlarm(_reference(0.9, 0.1))
    times = [0.0, 1e9, 5e8, 5e8, 2e9]
    assert not any(alarm.observe(time_s, 0.9) for time_s in times)
    assert alarm.evidence < QUIET_DAYS
