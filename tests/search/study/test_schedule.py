"""The schedule of a sweep that is limited in time, and what the search leaves for the finalists."""

import math

import pytest

from chorale.search.config.schema import BudgetConfig
from chorale.search.ledger.ledger import Row
from chorale.search.study.budget import BudgetMeter
from chorale.search.study.schedule import BASELINES_SHARE, FINALISTS_SHARE, Schedule


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def _meter(clock: _Clock, *, n_finals: int, n_at_once: int = 2) -> BudgetMeter:
    return BudgetMeter(
        BudgetConfig(minutes=10),
        n_at_once=n_at_once,
        n_finals=n_finals,
        n_folds=5,
        schedule=Schedule(600, evaluation_s=100, wall_s=clock),
        clock=clock,
    )


def _complete(meter: BudgetMeter, clock: _Clock, seconds: float, score: float = -math.inf) -> None:
    meter.start(0)
    clock.now += seconds
    meter.end(0, "COMPLETE", score)


def test_without_a_limit_on_time_there_is_always_enough() -> None:
    schedule = Schedule.of(None, n_rows=10, n_classes=2, wall_s=lambda: 1e9)
    assert not schedule.is_limited
    assert schedule.left_s() == schedule.baselines_s() == math.inf


def test_time_for_the_evaluation_is_kept_and_grows_with_the_data() -> None:
    little, much = (
        Schedule.of(1, n_rows=n, n_classes=10, wall_s=lambda: 20.0) for n in (100, 100_000)
    )
    assert 0 < much.left_s() < little.left_s() < 40
    assert little.baselines_s() == pytest.approx(BASELINES_SHARE * little.left_s())
    assert Schedule(60, wall_s=lambda: 70.0).baselines_s() == 0


@pytest.mark.parametrize(("slowdown", "kept_s"), [(1.0, 10.0), (3.0, 30.0), (40.0, 50.0)])
def test_on_a_busy_machine_more_time_is_kept_for_the_evaluation(
    slowdown: float, kept_s: float
) -> None:
    schedule = Schedule(100, evaluation_s=10, wall_s=lambda: 20.0, slowdown=lambda: slowdown)
    assert schedule.left_s() == 80 - kept_s


def test_until_a_trial_is_complete_the_finalists_share_is_reserved() -> None:
    clock = _Clock()
    meter = _meter(clock, n_finals=30)
    assert meter.time_left_s() == pytest.approx((1 - FINALISTS_SHARE) * 500)


@pytest.mark.parametrize(
    ("n_trials", "trial_s", "n_finals", "reserved_s"),
    [
        (6, 4, 30, 60),  # all finalists: 30 trainings, two at once
        (7, 4, 30, 60),
        (3, 4, 30, 30),  # of as many as there are
        (6, 20, 30, 250),  # no more than half of what was left at the beginning
        (1, 80, 30, 264),  # but enough for the folds of the best one: three rounds, and the test
        (3, 40, 0, 0),
    ],
)
def test_the_reserve_fits_the_measured_time_of_trials(
    n_trials: int, trial_s: float, n_finals: int, reserved_s: float
) -> None:
    clock = _Clock()
    meter = _meter(clock, n_finals=n_finals)
    for _ in range(n_trials):
        _complete(meter, clock, trial_s)
    assert meter.time_left_s() == pytest.approx(500 - n_trials * trial_s - reserved_s)


def test_no_time_is_reserved_for_trials_far_behind_the_best() -> None:
    """A search of 5 minutes ended where slow ones had failed, and left 100 s unused."""
    clock = _Clock()
    meter = _meter(clock, n_finals=30)
    for trial_s, score in ((2.0, 0.9), (90.0, 0.5), (80.0, 0.4)):
        _complete(meter, clock, trial_s, score)
    assert meter.time_left_s() == pytest.approx(500 - 172 - 1.1 * 3 * 2)


def test_the_folds_of_the_best_trial_are_reserved_and_not_those_of_an_average_one() -> None:
    """In 5 minutes of polyphonic clips the best network got half of its epochs in each fold."""
    clock = _Clock()
    meter = _meter(clock, n_finals=30)
    facts = [(10.0, 0.5), (100.0, 0.9), (10.0, 0.6)]
    for trial_s, score in facts:
        _complete(meter, clock, trial_s, score)
    assert meter.time_left_s() == pytest.approx(500 - 120 - 3 * 110)
    again = _meter(clock, n_finals=30)
    rows = [
        Row(str(i), "COMPLETE", facts={"elapsed_s": s, "metrics": {"mAP": value}})
        for i, (s, value) in enumerate(facts)
    ]
    again.restore(rows, "mAP")
    assert again.time_left_s() == meter.time_left_s()
