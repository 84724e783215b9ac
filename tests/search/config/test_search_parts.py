"""Grid, quasi-random points, opening, pruners, budget, patience, the Pareto front."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from chorale.cluster.base import Resources
from chorale.datasets.errors import UserError
from chorale.search.config import grid
from chorale.search.config.resolve import resolve_file
from chorale.search.config.schema import Budget, Search
from chorale.search.config.space import SearchSpace, make_space
from chorale.search.ledger.ledger import Row
from chorale.search.ledger.pareto import crowding, front, ranks
from chorale.search.study.budget import Meter
from chorale.search.study.early_stopping import EnsembleWatch
from chorale.search.study.initial_points import WarmPoint, make_opening
from chorale.search.study.pruner import HalvingPruner, bracket, make_pruner
from chorale.search.study.samplers.quasi_random import QuasiRandomSampler, from_unit, to_unit


def _space(architectures: list[str] | None = None, **fixed: Any) -> SearchSpace:
    space, problems = make_space(architectures or ["cnn", "recurrent"], ["mel"], {}, fixed=fixed)
    assert space is not None, problems
    return space


# The grid.


def test_report_cs_grid_has_its_24_combinations() -> None:
    resolved = resolve_file("report_c_grid", {})
    points = grid.points(resolved.space, seed=0)
    assert len(points) == 24 == resolved.sweep.budget.trials
    assert len({repr(sorted(point.items())) for point in points}) == 24
    rates = {(p["train.optimizer"], p.get("train.lr", p.get("train.sgd_lr"))) for p in points}
    assert rates == {("adam", 0.001), ("sgd", 0.01), ("sgd", 0.1)}
    assert {p["cnn.n_layers"] for p in points} == {2, 4}
    assert resolved.sweep.finalists.configs * resolved.sweep.finalists.folds == 48
    assert points != grid.points(resolved.space, seed=1), "the order is drawn"


def test_a_grid_over_a_continuous_range_says_how_to_narrow_it() -> None:
    found = grid.problems(_space(optimizer="sgd", n_masks=0))
    assert any("train.sgd_lr may be anything from 0.01 to 0.1" in line for line in found)
    assert all("train.lr" not in line for line in found), "it does not exist under sgd"
    assert any("more than 10000 points" in line for line in found)
    with pytest.raises(UserError, match="sgd_lr"):
        grid.points(_space(optimizer="sgd", n_masks=0), seed=0)


# Quasi-random points.


@pytest.mark.parametrize(
    "distribution",
    [
        FloatDistribution(1e-4, 1e-1, log=True),
        FloatDistribution(0.0, 0.5, step=0.1),
        FloatDistribution(-1.0, 1.0),
        IntDistribution(16, 64, step=16),
        IntDistribution(2, 300, log=True),
        CategoricalDistribution((None, 1.0, "x")),
    ],
)
def test_the_unit_interval_covers_a_distribution(distribution: Any) -> None:
    values = [from_unit(distribution, u) for u in np.linspace(0, 1, 2001, endpoint=False)]
    assert all(distribution._contains(distribution.to_internal_repr(v)) for v in values)
    if isinstance(distribution, CategoricalDistribution):
        assert set(values) == set(distribution.choices)
    else:
        low, high = distribution.low, distribution.high
        assert min(values) == pytest.approx(low)
        assert max(values) == pytest.approx(high, rel=0.01)
    for value in values[:: 2000 // 10]:
        again = from_unit(distribution, min(to_unit(distribution, value), 0.9999999))
        assert again == pytest.approx(value) if isinstance(value, float) else again == value


def test_quasi_random_points_depend_on_their_number_alone_and_are_even() -> None:
    names, uniform = ("a", "b"), FloatDistribution(0, 1)
    first = QuasiRandomSampler(names, seed=0)
    points = [(first.value(n, "a", uniform), first.value(n, "b", uniform)) for n in range(16)]
    assert QuasiRandomSampler(names, seed=0).value(13, "b", uniform) == points[13][1]
    assert QuasiRandomSampler(names, seed=0).value(40, "a", uniform) == first.value(
        40, "a", uniform
    )
    for axis in (0, 1):
        assert sorted(int(point[axis] * 16) for point in points) == list(range(16))


# The opening.


def test_defaults_take_half_of_the_budget_and_each_architectures_best_comes_first() -> None:
    space, _ = make_space(None, ["mel"], {}, fixed={})
    assert space is not None
    n_architectures = len(space.architectures)
    opening = make_opening(space, Search(), n_trials=2 * n_architectures)
    tried = [point["architecture"] for point in opening.points]
    assert sorted(tried) == sorted(space.architectures)
    assert "half of the budget" in opening.left_out[0]
    small = make_opening(space, Search(), n_trials=8)
    assert len(small.points) == 4
    assert "start without one" in small.left_out[0]
    assert len(make_opening(space, Search(), n_trials=1).points) == 1


@pytest.mark.parametrize("n_trials", [1, 2, 5, 24, 64, 1000])
def test_warm_points_and_defaults_leave_30_percent_to_exploration(n_trials: int) -> None:
    warm = [WarmPoint({"architecture": "cnn", "n": i}, f"old/{i}", 0.5) for i in range(300)]
    opening = make_opening(_space(), Search(), n_trials=n_trials, warm=warm)
    assert len(opening.points) <= max(1, 0.7 * n_trials)
    assert opening.n_warm == int(0.2 * n_trials)
    assert opening.hurdle == (0.5 if opening.n_warm else None)
    assert opening.n_quasi_random <= 16
    assert type(opening).from_json(opening.to_json()) == opening


# Pruners.


def _judge(pruner: Any, values: list[float], *, step: int) -> list[bool]:
    study = optuna.create_study(direction="maximize", pruner=pruner)
    judged = []
    for value in values:
        trial = study.ask()
        for epoch in range(1, step + 1):
            trial.report(value, epoch)
        judged.append(trial.should_prune())
    return judged


def test_halving_lets_the_best_third_go_on_at_its_rung_and_judges_nowhere_else() -> None:
    values = [0.5, 0.4, 0.6, 0.1, 0.55, 0.7]
    assert _judge(HalvingPruner((3,)), values, step=3) == [False, True, False, True, True, False]
    assert _judge(HalvingPruner((3,)), values, step=2) == [False] * 6
    assert _judge(HalvingPruner((3,)), values, step=4) == [False] * 6


def test_a_hurdle_of_earlier_studies_stops_what_is_worse() -> None:
    assert _judge(HalvingPruner((3,)), [0.5], step=3) == [False]
    assert _judge(HalvingPruner((3,), hurdle=0.8), [0.5, 0.9], step=3) == [True, False]
    exempt = HalvingPruner((3,), hurdle=0.8, n_exempt=1)
    assert _judge(exempt, [0.5, 0.7, 0.9], step=3) == [False, True, False]


def test_hyperband_has_trials_that_are_never_judged() -> None:
    brackets = [bracket(number) for number in range(300)]
    assert [round(brackets.count(i) / 300, 1) for i in range(3)] == [0.5, 0.3, 0.2]
    worse_and_worse = [1 - 0.01 * i for i in range(40)]
    judged = _judge(make_pruner("hyperband", max_epochs=9), worse_and_worse, step=3)
    for number, stopped in enumerate(judged):
        assert not (stopped and bracket(number) == 2)
    assert any(judged)


# The budget.


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _spend(meter: Meter, clock: _Clock, seconds: list[float]) -> None:
    for number, elapsed_s in enumerate(seconds):
        meter.start(number)
        clock.now += elapsed_s
        assert meter.end(number, "COMPLETE") == elapsed_s


@pytest.mark.parametrize(
    ("limits", "resources", "spent"),
    [
        ({"minutes": 10}, Resources(), None),
        ({"minutes": 5}, Resources(), "budget.minutes"),
        ({"core_hours": 0.2}, Resources(cpus=2), None),
        ({"core_hours": 0.1}, Resources(cpus=2), "budget.core_hours"),
        ({"gpu_hours": 0.1}, Resources(gpus=0.5), None),
        ({"gpu_hours": 0.04}, Resources(gpus=0.5), "budget.gpu_hours"),
        ({"gpu_hours": 0.04}, Resources(), None),
        ({"minutes": 10, "core_hours": 0.05}, Resources(), "budget.core_hours"),
    ],
)
def test_whichever_limit_comes_first_ends_a_search(
    limits: dict[str, float], resources: Resources, spent: str | None
) -> None:
    clock = _Clock()
    meter = Meter(Budget(**limits), resources=resources, wall_s=clock, clock=clock)  # type: ignore[arg-type]
    _spend(meter, clock, [100.0, 100.0, 100.0])
    assert meter.spent_limit() == spent
    assert (meter.time_left_s() <= 0) == (spent is not None)


def test_running_trials_and_the_finalists_count() -> None:
    clock = _Clock()
    meter = Meter(Budget(core_hours=1), n_finals=4, clock=clock)
    _spend(meter, clock, [360.0])
    assert meter.time_left_s() == pytest.approx(3600 - 360 - 4 * 360)
    meter.start(9)
    clock.now += 100
    assert meter.time_left_s() == pytest.approx(3600 - 460 - 4 * 360)


def test_the_forecast_is_of_the_limit_that_comes_first() -> None:
    clock = _Clock()
    meter = Meter(Budget(trials=10, minutes=20), n_at_once=2, wall_s=clock, clock=clock)
    assert meter.forecast_s() == 20 * 60
    _spend(meter, clock, [60.0, 60.0])
    assert meter.forecast_s() == pytest.approx(8 * 60 / 2)
    _spend(meter, clock, [900.0])
    assert meter.forecast_s() == pytest.approx(1200 - 1020)


def test_earlier_sittings_count() -> None:
    meter = Meter(Budget(core_hours=0.1))
    meter.restore([Row("0", "COMPLETE", "", {"elapsed_s": 400.0}), Row("1", "FAIL")])
    assert meter.spent_limit() == "budget.core_hours"


# Patience.


def _proba(sure: float, n: int = 40) -> np.ndarray:
    proba = np.full((n, 2), 1 - sure, np.float32)
    proba[:, 0] = sure
    return proba


def test_patience_ends_when_the_ensemble_no_longer_improves() -> None:
    labels = np.zeros(40, np.int64)
    watch = EnsembleWatch(labels, patience=2)
    watch.add(0, _proba(0.6))
    watch.add(1, _proba(0.5))
    assert not watch.exhausted
    watch.add(2, _proba(0.8))
    assert watch.n_since == 0
    watch.add(3, None)
    watch.add(4, _proba(0.7))
    assert watch.exhausted
    assert watch.log_loss == pytest.approx(-math.log(0.8), rel=1e-4)


def test_a_worse_trial_that_errs_elsewhere_helps_the_ensemble() -> None:
    labels = np.zeros(40, np.int64)
    one, other = _proba(0.99), _proba(0.98)
    one[:10], other[10:22] = [0.05, 0.95], [0.05, 0.95]
    watch = EnsembleWatch(labels, patience=3)
    watch.add(0, one)
    watch.add(1, other)
    assert watch.n_since == 0


def test_a_resumed_watch_knows_what_an_uninterrupted_one_knows() -> None:
    labels = np.zeros(40, np.int64)
    bank = {0: _proba(0.6), 2: _proba(0.5), 10: _proba(0.55)}
    rows = [Row("10", "COMPLETE"), Row("0", "COMPLETE"), Row("1", "FAIL"), Row("3", "PRUNED")]
    rows.append(Row("2", "COMPLETE"))
    again = EnsembleWatch(labels, patience=9)
    again.restore(rows, bank.__getitem__)
    assert again.n_since == 3
    assert again.log_loss == pytest.approx(-math.log(0.6), rel=1e-4)


def test_a_trial_whose_predictions_cannot_be_read_counts_neither_way_and_is_said() -> None:
    def read(number: int) -> np.ndarray:
        if number == 1:
            raise UserError("the file is damaged")
        return _proba(0.6)

    watch = EnsembleWatch(np.zeros(40, np.int64), patience=1)
    lines = watch.restore([Row(str(n), "COMPLETE") for n in range(2)], read)
    assert lines == ["budget.patience does not count trial 1: the file is damaged"]
    assert not watch.exhausted


# The Pareto front.


def _row(number: int, accuracy: float, latency_ms: float | None, state: str = "COMPLETE") -> Row:
    metrics = {"accuracy": accuracy}
    if latency_ms is not None:
        metrics["latency_ms"] = latency_ms
    return Row(str(number), state, "", {"metrics": metrics, "n_parameters": 10 * number})


def test_the_front_holds_what_nothing_beats() -> None:
    rows = [
        _row(0, 0.9, 30.0),
        _row(1, 0.8, 10.0),
        _row(2, 0.8, 20.0),
        _row(3, 0.7, 5.0),
        _row(4, 0.95, 1.0, "PRUNED"),
        _row(5, 0.99, None),
        _row(10, 0.9, 30.0),
    ]
    by_key = {row.key: row for row in rows}
    assert front(by_key, objective="accuracy", second="latency_ms") == ["0", "10", "1", "3"]
    assert front(by_key, objective="accuracy", second="none") == ["5"]
    assert front(by_key, objective="accuracy", second="n_parameters")[0] == "5"
    assert front({}, objective="accuracy", second="latency_ms") == []


def test_ranks_and_crowding() -> None:
    losses = [(0.0, 2.0), (1.0, 1.0), (2.0, 0.0), (2.0, 2.0), (3.0, 3.0)]
    assert ranks(losses) == [0, 0, 0, 1, 2]
    assert list(crowding(losses)[:3]) == [math.inf, 2.0, math.inf]


def test_a_budget_or_a_space_of_nothing_is_one_line_each(tmp_path: Path) -> None:
    words = {"budget.trials": 0, "budget.core_hours": 0, "architectures": [], "search.pruner": "x"}
    with pytest.raises(UserError) as caught:
        resolve_file("demo", words)
    said = str(caught.value)
    assert "4 problems" in said
    for key in words:
        assert key in said
