"""Grid search, quasi-random and initial points, pruners, budget, early stopping, Pareto front."""

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
from chorale.search.config.schema import BudgetConfig, SearchConfig
from chorale.search.config.space import SearchSpace, make_space
from chorale.search.ledger.ledger import Row
from chorale.search.ledger.pareto import crowding_distances, pareto_front, pareto_ranks
from chorale.search.study.budget import BudgetMeter
from chorale.search.study.early_stopping import EnsembleEarlyStopping
from chorale.search.study.initial_points import InitialPoints, WarmPoint, make_initial_points
from chorale.search.study.pruner import HalvingPruner, bracket_of, make_pruner
from chorale.search.study.samplers.quasi_random import QuasiRandomSampler, from_unit, to_unit
from chorale.search.study.schedule import Schedule


def _space(architectures: list[str] | None = None, **fixed: Any) -> SearchSpace:
    space, problems = make_space(architectures or ["cnn", "recurrent"], ["mel"], {}, fixed=fixed)
    assert space is not None, problems
    return space


# The grid.


def test_report_cs_grid_has_24_combinations() -> None:
    resolved = resolve_file("report_c_grid", {})
    points = grid.grid_points(resolved.space, seed=0)
    assert len(points) == 24 == resolved.sweep.budget.trials
    assert len({repr(sorted(point.items())) for point in points}) == 24
    rates = {(p["train.optimizer"], p.get("train.lr", p.get("train.sgd_lr"))) for p in points}
    assert rates == {("adam", 0.001), ("sgd", 0.01), ("sgd", 0.1)}
    assert {p["cnn.n_layers"] for p in points} == {2, 4}
    assert resolved.sweep.finalists.n_configs * resolved.sweep.finalists.folds == 48
    assert points != grid.grid_points(resolved.space, seed=1), "the order is random"


def test_a_grid_over_a_continuous_range_is_refused_with_advice() -> None:
    found = grid.grid_problems(_space(optimizer="sgd", n_masks=0))
    assert any("train.sgd_lr is continuous, from 0.01 to 0.1" in line for line in found)
    assert all("train.lr" not in line for line in found), "it does not exist under sgd"
    assert any("more than 10000 points" in line for line in found)
    with pytest.raises(UserError, match="sgd_lr"):
        grid.grid_points(_space(optimizer="sgd", n_masks=0), seed=0)


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


# Initial points.


def test_defaults_use_half_of_the_budget_and_start_with_each_architectures_best() -> None:
    space, _ = make_space(None, ["mel"], {}, fixed={})
    assert space is not None
    n_architectures = len(space.architectures)
    initial = make_initial_points(space, SearchConfig(), n_trials=2 * n_architectures)
    tried = [point["architecture"] for point in initial.points]
    assert sorted(tried) == sorted(space.architectures)
    assert "half of the budget" in initial.left_out[0]
    small = make_initial_points(space, SearchConfig(), n_trials=8)
    assert len(small.points) == 4
    assert "start without one" in small.left_out[0]
    assert len(make_initial_points(space, SearchConfig(), n_trials=1).points) == 1


@pytest.mark.parametrize("n_trials", [1, 2, 5, 24, 64, 1000])
def test_warm_start_and_defaults_leave_30_percent_of_the_trials_to_exploration(
    n_trials: int,
) -> None:
    warm = [WarmPoint({"architecture": "cnn", "n": i}, f"old/{i}", 0.5) for i in range(300)]
    initial = make_initial_points(_space(), SearchConfig(), n_trials=n_trials, warm=warm)
    assert len(initial.points) <= max(1, 0.7 * n_trials)
    assert initial.n_warm == int(0.2 * n_trials)
    assert initial.hurdles(lambda point: point["architecture"]) == (
        {"cnn": 0.5} if initial.n_warm else {}
    )
    search = SearchConfig()  # where time limits the trials
    limited = make_initial_points(_space(), search, n_trials=n_trials, n_expected=10, warm=warm)
    assert limited.n_warm == 2
    assert initial.n_quasi_random <= 16
    assert type(initial).from_json(initial.to_json()) == initial


def test_a_hurdle_is_the_median_of_the_earlier_trials_of_its_kind() -> None:
    rungs = [("mlp", 0.9), ("cnn", 0.3), ("mlp", 0.8), ("cnn", None), ("mlp", 0.1)]
    warm = [
        WarmPoint({"architecture": name, "n": i}, f"old/{i}", rung)
        for i, (name, rung) in enumerate(rungs)
    ]
    initial = make_initial_points(_space(), SearchConfig(), n_trials=100, warm=warm)
    assert initial.hurdles(lambda point: point["architecture"]) == {"mlp": 0.8, "cnn": 0.3}


def test_a_study_of_an_older_version_is_read_without_its_hurdle() -> None:
    values = make_initial_points(_space(), SearchConfig(), n_trials=10).to_json()
    del values["rungs"]
    assert InitialPoints.from_json({**values, "hurdle": 0.5}).hurdles(lambda point: None) == {}


# Pruners.


def _pruned(pruner: Any, values: list[float], *, step: int) -> list[bool]:
    study = optuna.create_study(direction="maximize", pruner=pruner)
    pruned = []
    for value in values:
        trial = study.ask()
        for epoch in range(1, step + 1):
            trial.report(value, epoch)
        pruned.append(trial.should_prune())
    return pruned


def test_halving_keeps_the_best_third_at_its_rung_and_prunes_nowhere_else() -> None:
    values = [0.5, 0.4, 0.6, 0.1, 0.55, 0.7]
    assert _pruned(HalvingPruner((3,)), values, step=3) == [False, True, False, True, True, False]
    assert _pruned(HalvingPruner((3,)), values, step=2) == [False] * 6
    assert _pruned(HalvingPruner((3,)), values, step=4) == [False] * 6


def test_a_threshold_from_earlier_studies_prunes_worse_trials() -> None:
    assert _pruned(HalvingPruner((3,)), [0.5], step=3) == [False]
    assert _pruned(HalvingPruner((3,), hurdles={None: 0.8}), [0.5, 0.9], step=3) == [True, False]
    exempt = HalvingPruner((3,), hurdles={None: 0.8}, n_exempt=1)
    assert _pruned(exempt, [0.5, 0.7, 0.9], step=3) == [False, True, False]


def test_trials_are_compared_with_those_of_their_own_kind() -> None:
    """A late kind is not pruned by an early one; within a kind the best third continues."""
    values = [0.6, 0.3, 0.7, 0.2, 0.65, 0.4, 0.5, 0.35]
    pruner = make_pruner("successive_halving", max_epochs=9, kind=lambda trial: trial.number % 2)
    pruned = _pruned(pruner, values, step=3)
    assert pruned[0::2] == [False, False, True, True]
    assert pruned[1::2] == [False, True, False, True]
    alone = _pruned(make_pruner("successive_halving", max_epochs=9), values, step=3)
    assert alone[1::2] == [True] * 4


def test_earlier_trials_of_one_kind_do_not_prune_another() -> None:
    values = [0.6, 0.3, 0.95]
    pruner = HalvingPruner((3,), hurdles={"table": 0.9}, kind=_kind_of_number)
    assert _pruned(pruner, values, step=3) == [True, False, False]


def _kind_of_number(trial: optuna.trial.FrozenTrial) -> str:
    return "frames" if trial.number % 2 else "table"


def test_hyperband_has_trials_that_are_never_pruned() -> None:
    brackets = [bracket_of(number) for number in range(300)]
    assert [round(brackets.count(i) / 300, 1) for i in range(3)] == [0.5, 0.3, 0.2]
    worse_and_worse = [1 - 0.01 * i for i in range(40)]
    pruned = _pruned(make_pruner("hyperband", max_epochs=9), worse_and_worse, step=3)
    for number, stopped in enumerate(pruned):
        assert not (stopped and bracket_of(number) == 2)
    assert any(pruned)


# The budget.


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _spend(meter: BudgetMeter, clock: _Clock, seconds: list[float]) -> None:
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
def test_the_first_exhausted_limit_ends_the_search(
    limits: dict[str, float], resources: Resources, spent: str | None
) -> None:
    clock = _Clock()
    meter = BudgetMeter(
        BudgetConfig(**limits),  # type: ignore[arg-type]
        resources=resources,
        schedule=Schedule(60 * limits.get("minutes", math.inf), wall_s=clock),
        clock=clock,
    )
    _spend(meter, clock, [100.0, 100.0, 100.0])
    assert meter.spent_limit() == spent
    assert (meter.time_left_s() <= 0) == (spent is not None)


def test_running_trials_and_the_finalists_use_budget() -> None:
    clock = _Clock()
    meter = BudgetMeter(BudgetConfig(core_hours=1), n_finals=4, clock=clock)
    _spend(meter, clock, [360.0])
    assert meter.time_left_s() == pytest.approx(3600 - 360 - 4 * 360)
    meter.start(9)
    clock.now += 100
    assert meter.time_left_s() == pytest.approx(3600 - 460 - 4 * 360)


def test_the_forecast_follows_the_limit_that_ends_first() -> None:
    clock = _Clock()
    meter = BudgetMeter(
        BudgetConfig(trials=10, minutes=20),
        n_at_once=2,
        schedule=Schedule(60 * 20, wall_s=clock),
        clock=clock,
    )
    assert meter.forecast_s() == 20 * 60
    _spend(meter, clock, [60.0, 60.0])
    assert meter.forecast_s() == pytest.approx(8 * 60 / 2)
    _spend(meter, clock, [900.0])
    assert meter.forecast_s() == pytest.approx(1200 - 1020)


def test_time_before_a_resume_counts() -> None:
    meter = BudgetMeter(BudgetConfig(core_hours=0.1))
    meter.restore([Row("0", "COMPLETE", "", {"elapsed_s": 400.0}), Row("1", "FAIL")], "accuracy")
    assert meter.spent_limit() == "budget.core_hours"


# Early stopping.


def _proba(confidence: float, n: int = 40) -> np.ndarray:
    proba = np.full((n, 2), 1 - confidence, np.float32)
    proba[:, 0] = confidence
    return proba


def test_patience_ends_when_the_ensemble_no_longer_improves() -> None:
    labels = np.zeros(40, np.int64)
    early_stopping = EnsembleEarlyStopping(labels, patience=2)
    early_stopping.add(0, _proba(0.6))
    early_stopping.add(1, _proba(0.5))
    assert not early_stopping.exhausted
    early_stopping.add(2, _proba(0.8))
    assert early_stopping.n_since == 0
    early_stopping.add(3, None)
    early_stopping.add(4, _proba(0.7))
    assert early_stopping.exhausted
    assert early_stopping.log_loss == pytest.approx(-math.log(0.8), rel=1e-4)


def test_a_worse_trial_with_other_errors_improves_the_ensemble() -> None:
    labels = np.zeros(40, np.int64)
    one, other = _proba(0.99), _proba(0.98)
    one[:10], other[10:22] = [0.05, 0.95], [0.05, 0.95]
    early_stopping = EnsembleEarlyStopping(labels, patience=3)
    early_stopping.add(0, one)
    early_stopping.add(1, other)
    assert early_stopping.n_since == 0


def test_restoring_gives_the_same_state_as_an_uninterrupted_run() -> None:
    labels = np.zeros(40, np.int64)
    bank = {0: _proba(0.6), 2: _proba(0.5), 10: _proba(0.55)}
    rows = [Row("10", "COMPLETE"), Row("0", "COMPLETE"), Row("1", "FAIL"), Row("3", "PRUNED")]
    rows.append(Row("2", "COMPLETE"))
    again = EnsembleEarlyStopping(labels, patience=9)
    again.restore(rows, bank.__getitem__)
    assert again.n_since == 3
    assert again.log_loss == pytest.approx(-math.log(0.6), rel=1e-4)


def test_a_trial_with_unreadable_predictions_is_not_counted_and_is_reported() -> None:
    def read(number: int) -> np.ndarray:
        if number == 1:
            raise UserError("the file is damaged")
        return _proba(0.6)

    early_stopping = EnsembleEarlyStopping(np.zeros(40, np.int64), patience=1)
    lines = early_stopping.restore([Row(str(n), "COMPLETE") for n in range(2)], read)
    assert lines == ["budget.patience does not count trial 1: the file is damaged"]
    assert not early_stopping.exhausted


# The Pareto front.


def _row(number: int, accuracy: float, latency_ms: float | None, state: str = "COMPLETE") -> Row:
    metrics = {"accuracy": accuracy}
    if latency_ms is not None:
        metrics["latency_ms"] = latency_ms
    return Row(str(number), state, "", {"metrics": metrics, "n_parameters": 10 * number})


def test_the_front_holds_the_non_dominated_trials() -> None:
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
    assert pareto_front(by_key, objective="accuracy", second="latency_ms") == ["0", "10", "1", "3"]
    assert pareto_front(by_key, objective="accuracy", second="none") == ["5"]
    assert pareto_front(by_key, objective="accuracy", second="n_parameters")[0] == "5"
    assert pareto_front({}, objective="accuracy", second="latency_ms") == []


def test_pareto_ranks_and_crowding_distances() -> None:
    losses = [(0.0, 2.0), (1.0, 1.0), (2.0, 0.0), (2.0, 2.0), (3.0, 3.0)]
    assert pareto_ranks(losses) == [0, 0, 0, 1, 2]
    assert list(crowding_distances(losses)[:3]) == [math.inf, 2.0, math.inf]


def test_every_empty_budget_or_space_is_one_problem(tmp_path: Path) -> None:
    overrides = {
        "budget.trials": 0,
        "budget.core_hours": 0,
        "architectures": [],
        "search.pruner": "x",
    }
    with pytest.raises(UserError) as caught:
        resolve_file("demo", overrides)
    message = str(caught.value)
    assert "4 problems" in message
    for key in overrides:
        assert key in message
