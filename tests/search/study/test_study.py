"""The search stage: budget, pruning, resume, early stopping and warm start of a study."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from chorale.cluster.base import Decision, End, Outcome, Report, Trials, TrialSpec
from chorale.cluster.local import LocalRunner
from chorale.lightning_models.training.module import Diverged
from chorale.search.config.schema import BudgetConfig, SearchConfig
from chorale.search.config.space import Candidate, make_space
from chorale.search.console.events import StudyListeners
from chorale.search.ledger.ledger import Ledger
from chorale.search.ledger.stages import SEARCH
from chorale.search.study.budget import BudgetMeter
from chorale.search.study.early_stopping import EnsembleEarlyStopping
from chorale.search.study.initial_points import WarmPoint, make_initial_points
from chorale.search.study.proposals import Measured, Proposals
from chorale.search.study.schedule import Schedule
from chorale.search.study.study import SearchStage, StudyTrials
from chorale.search.study.warm_start import WarmStart
from chorale.search.training.trial_plan import TrialResult

SILENT = StudyListeners(())


def _result(accuracy: float) -> TrialResult:
    return TrialResult(
        metrics={"accuracy": accuracy, "macro_f1": accuracy, "log_loss": 1.0},
        epoch=1,
        n_parameters=10,
        train_s=0.1,
        valid_s=0.05,
        wall_s=0.2,
        valid_proba=np.full((2, 2), 0.5, np.float32),
    )


def _study(**changes: Any) -> SearchStage:
    space, problems = make_space(["cnn", "recurrent"], ["mel"], {}, fixed={})
    assert space is not None, problems
    budget = changes.pop("budget", BudgetConfig(trials=6, max_epochs=8))
    settings: dict[str, Any] = {
        "name": "s",
        "space": space,
        "search": SearchConfig(sampler="random"),
        "meter": BudgetMeter(
            budget,
            schedule=Schedule(
                60 * (budget.minutes or math.inf), wall_s=changes.pop("wall_s", lambda: 0.0)
            ),
        ),
        "plan": lambda candidate, number: None,
        "keep": lambda number, result: None,
    }
    return SearchStage(**{**settings, **changes})


class _Seconds:
    """A clock that a trial advances by its epochs."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def _timed_study(clock: _Seconds, **changes: Any) -> SearchStage:
    budget = BudgetConfig(trials=6, max_epochs=8, minutes=10)
    schedule = Schedule(600, wall_s=clock)
    return replace(
        _study(search=SearchConfig(sampler="random", pruner="none"), **changes),
        meter=BudgetMeter(budget, schedule=schedule, clock=clock),
    )


def _epochs_of(clock: _Seconds, seconds: float) -> Callable[[TrialSpec, Report], TrialResult]:
    def work(spec: TrialSpec, report: Report) -> TrialResult:
        for step in range(1, 9):
            clock.now += seconds
            if report(step, {"accuracy": 0.5}) is Decision.STOP:
                break
        return _result(0.5)

    return work


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(f"sqlite:///{tmp_path / 'chorale.db'}")


def _run(
    study: SearchStage, ledger: Ledger, work: Callable[[TrialSpec, Report], Any]
) -> StudyTrials:
    trials = StudyTrials(study, ledger, SILENT)
    LocalRunner().run(trials, work)
    trials.finish()
    return trials


def _states(ledger: Ledger) -> list[TrialState]:
    study = optuna.load_study(study_name="s", storage=ledger.optuna)
    return [trial.state for trial in study.trials if trial.state != TrialState.WAITING]


def _good(spec: TrialSpec, report: Report) -> TrialResult:
    for epoch in range(1, 4):
        report(epoch, {"accuracy": 0.1 * epoch + 0.01 * spec.trial_id})
    return _result(0.3 + 0.01 * spec.trial_id)


def test_the_number_of_trials_is_exactly_that_of_the_budget(ledger: Ledger) -> None:
    _run(_study(search=SearchConfig(sampler="random", pruner="none")), ledger, _good)
    assert _states(ledger) == [TrialState.COMPLETE] * 6
    rows = ledger.rows("s", SEARCH)
    assert sorted(rows) == ["0", "1", "2", "3", "4", "5"]
    assert rows["5"].facts["metrics"]["accuracy"] == pytest.approx(0.35)


def test_defaults_are_the_first_half_of_the_budget(ledger: Ledger) -> None:
    study = _study()
    _run(study, ledger, _good)
    rows = ledger.rows("s", SEARCH)
    for number, point in enumerate(study.space.defaults()[:3]):
        params = rows[str(number)].facts["params"]
        assert params["architecture"] == point["architecture"]


def test_a_bad_trial_is_pruned_and_its_reports_are_stored(ledger: Ledger) -> None:
    decisions: dict[int, list[Decision]] = {}

    def work(spec: TrialSpec, report: Report) -> TrialResult:
        value = 0.9 - 0.1 * spec.trial_id
        for epoch in range(1, 9):
            decisions.setdefault(spec.trial_id, []).append(report(epoch, {"accuracy": value}))
            if decisions[spec.trial_id][-1] is Decision.STOP:
                break
        return _result(value)

    _run(_study(), ledger, work)
    study = optuna.load_study(study_name="s", storage=ledger.optuna)
    pruned = [t for t in study.trials if t.state == TrialState.PRUNED]
    assert pruned
    for trial in pruned:
        assert len(trial.intermediate_values) == len(decisions[trial.number]) < 8
        assert ledger.rows("s", SEARCH)[str(trial.number)].state == "PRUNED"


def test_a_trial_in_its_last_epoch_is_never_pruned(ledger: Ledger) -> None:
    def work(spec: TrialSpec, report: Report) -> TrialResult:
        value = 0.9 - 0.1 * spec.trial_id
        for epoch in range(1, 4):
            # falls behind after the rung, so that only the last report could prune it
            late = value if spec.trial_id == 0 or epoch == 3 else 0.95
            assert report(epoch, {"accuracy": late}) is Decision.CONTINUE
        return _result(value)

    _run(_study(budget=BudgetConfig(trials=4, max_epochs=3)), ledger, work)
    assert _states(ledger) == [TrialState.COMPLETE] * 4


def test_nan_fails_a_trial_with_its_reason(ledger: Ledger) -> None:
    def work(spec: TrialSpec, report: Report) -> TrialResult:
        assert report(1, {"accuracy": math.nan}) is Decision.STOP
        return _result(math.nan)

    _run(_study(budget=BudgetConfig(trials=1)), ledger, work)
    assert _states(ledger) == [TrialState.FAIL]
    assert ledger.rows("s", SEARCH)["0"].reason == "accuracy is nan"


def test_an_exception_fails_one_trial_with_its_traceback(
    ledger: Ledger,
) -> None:
    def work(spec: TrialSpec, report: Report) -> TrialResult:
        if spec.trial_id == 1:
            raise RuntimeError("no luck")
        return _result(0.5)

    _run(_study(budget=BudgetConfig(trials=3)), ledger, work)
    assert _states(ledger) == [TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE]
    row = ledger.rows("s", SEARCH)["1"]
    assert row.reason == "RuntimeError: no luck"
    assert "in work" in row.facts["traceback"]


def test_a_trials_predictions_are_written_before_its_row(
    ledger: Ledger,
) -> None:
    def keep(number: int, result: TrialResult) -> None:
        assert str(number) not in ledger.rows("s", SEARCH)
        assert _states(ledger)[number] == TrialState.RUNNING
        kept.append(number)

    kept: list[int] = []
    _run(_study(keep=keep, budget=BudgetConfig(trials=2)), ledger, _good)
    assert kept == [0, 1]


def _interrupted_at(n: int) -> Callable[[TrialSpec, Report], TrialResult]:
    def work(spec: TrialSpec, report: Report) -> TrialResult:
        report(1, {"accuracy": 0.2})
        if spec.trial_id == n:
            raise KeyboardInterrupt
        return _result(0.5)

    return work


def test_an_interrupted_study_keeps_its_trials_and_runs_the_rest_of_its_budget(
    ledger: Ledger,
) -> None:
    study = _study(search=SearchConfig(sampler="random", pruner="none"))
    with pytest.raises(KeyboardInterrupt):
        _run(study, ledger, _interrupted_at(2))
    before = ledger.rows("s", SEARCH)
    params = optuna.load_study(study_name="s", storage=ledger.optuna).trials[2].params
    assert sorted(before) == ["0", "1"]
    assert _states(ledger)[2] == TrialState.RUNNING

    seen: list[int] = []

    def work(spec: TrialSpec, report: Report) -> TrialResult:
        seen.append(spec.trial_id)
        return _good(spec, report)

    _run(study, ledger, work)
    assert seen == [2, 3, 4, 5]
    assert _states(ledger) == [TrialState.COMPLETE] * 6
    after = ledger.rows("s", SEARCH)
    assert {key: after[key] for key in before} == before
    assert after["2"].facts["params"] == params


def test_a_trial_recorded_just_before_a_crash_is_not_run_again(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = _study(budget=BudgetConfig(trials=2))

    def crash(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "tell", crash)
        with pytest.raises(KeyboardInterrupt):
            _run(study, ledger, _good)
    assert _states(ledger) == [TrialState.RUNNING]

    seen: list[int] = []

    def work(spec: TrialSpec, report: Report) -> TrialResult:
        seen.append(spec.trial_id)
        return _good(spec, report)

    _run(study, ledger, work)
    assert seen == [1]
    assert _states(ledger) == [TrialState.COMPLETE] * 2
    trials = optuna.load_study(study_name="s", storage=ledger.optuna).trials
    assert trials[0].value == pytest.approx(0.3)


def test_an_interrupted_trial_without_time_left_fails(ledger: Ledger) -> None:
    with pytest.raises(KeyboardInterrupt):
        _run(_study(), ledger, _interrupted_at(1))
    _run(_study(budget=BudgetConfig(minutes=1), wall_s=lambda: 60.0), ledger, _good)
    assert _states(ledger) == [TrialState.COMPLETE, TrialState.FAIL]
    assert "interrupted" in ledger.rows("s", SEARCH)["1"].reason


def test_when_time_is_up_running_trials_stop_and_no_new_one_is_asked(ledger: Ledger) -> None:
    wall_s = [0.0]

    def work(spec: TrialSpec, report: Report) -> TrialResult:
        wall_s[0] = 60.0
        assert report(1, {"accuracy": 0.5}) is Decision.STOP
        return _result(0.5)

    _run(_study(budget=BudgetConfig(minutes=1), wall_s=lambda: wall_s[0]), ledger, work)
    assert _states(ledger) == [TrialState.PRUNED]
    assert ledger.rows("s", SEARCH)["0"].reason == "out of time"


def test_a_study_implements_the_trials_protocol(ledger: Ledger) -> None:
    trials: Trials = StudyTrials(_study(), ledger, SILENT)
    assert not trials.done()
    assert len(trials.ask(4)) == 4
    assert [len(trials.ask(4)), trials.ask(4)] == [2, []]
    assert not trials.done(), "each of them may be lost, and run again"
    for number in range(6):
        assert not trials.done()
        trials.tell(number, Outcome(End.FINISHED, _result(0.5)))
    assert trials.done()


def test_a_search_ends_when_its_ensemble_no_longer_improves(ledger: Ledger) -> None:
    stopping = EnsembleEarlyStopping(np.zeros(2, np.int64), patience=3)
    trials = _run(
        _study(early_stopping=stopping, budget=BudgetConfig(trials=20)),
        ledger,
        lambda s, r: _result(0.5),
    )
    assert trials.ended_by() == "budget.patience"
    assert len(_states(ledger)) == 4


def test_a_search_ends_if_its_first_trials_all_fail_for_the_same_reason(ledger: Ledger) -> None:
    def work(spec: TrialSpec, report: Report) -> TrialResult:
        raise RuntimeError("no such file")

    study = _study(budget=BudgetConfig(trials=20))
    trials = _run(study, ledger, work)
    assert "failed in the same way" in str(trials.ended_by())
    assert _states(ledger) == [TrialState.FAIL] * 5
    # The cause is fixed: the rest of the budget is run.
    trials = _run(_study(budget=BudgetConfig(trials=7)), ledger, _good)
    assert trials.ended_by() == "budget.trials"
    assert _states(ledger) == [TrialState.FAIL] * 5 + [TrialState.COMPLETE] * 2


def test_the_origin_of_each_trial_is_recorded(ledger: Ledger) -> None:
    _run(_study(search=SearchConfig(pruner="none"), budget=BudgetConfig(trials=20)), ledger, _good)
    rows = ledger.rows("s", SEARCH)
    origins = [rows[str(number)].facts["origin"] for number in range(20)]
    assert origins == ["default"] * 6 + ["quasi-random"] * 5 + ["tpe"] * 9


def test_the_initial_points_stay_when_the_budget_grows(ledger: Ledger) -> None:
    _run(_study(budget=BudgetConfig(trials=4)), ledger, _good)
    _run(_study(budget=BudgetConfig(trials=8)), ledger, _good)
    rows = ledger.rows("s", SEARCH)
    assert [rows[str(n)].facts["origin"] for n in (0, 1)] == ["default"] * 2
    assert "default" not in [rows[str(n)].facts["origin"] for n in range(2, 8)]


def test_trials_are_pruned_with_a_second_objective(
    ledger: Ledger,
) -> None:
    def work(spec: TrialSpec, report: Report) -> TrialResult:
        value = 0.9 - 0.1 * spec.trial_id
        for epoch in range(1, 9):
            if report(epoch, {"accuracy": value}) is Decision.STOP:
                break
        return _result(value)

    _run(_study(search=SearchConfig(second="n_parameters")), ledger, work)
    assert {TrialState.COMPLETE, TrialState.PRUNED} == set(_states(ledger))


def test_points_of_earlier_studies_come_first_and_set_the_hurdle(ledger: Ledger) -> None:
    point = _study().space.defaults()[0] | {"train.lr": 0.0025, "train.optimizer": "adam"}
    asked = []

    def warm() -> WarmStart:
        asked.append(1)
        return WarmStart((WarmPoint(point, "old/3", 0.95),), ("old/4: no",))

    def work(spec: TrialSpec, report: Report) -> TrialResult:
        for epoch in range(1, 4):
            if report(epoch, {"accuracy": 0.5 - 0.01 * spec.trial_id}) is Decision.STOP:
                break
        return _result(0.5)

    study = _study(warm=warm)
    trials = _run(study, ledger, work)
    rows = ledger.rows("s", SEARCH)
    assert rows["0"].facts["params"]["train.lr"] == 0.0025
    assert rows["0"].facts["origin"] == "warm start from old/3"
    assert rows["0"].state == "COMPLETE", "the hurdle does not apply to its own trial"
    assert {rows[str(n)].state for n in range(1, 6)} == {"PRUNED"}, "none reached the hurdle"
    assert "old/4: no" in trials.notes
    StudyTrials(study, ledger, SILENT)
    assert asked == [1], "a resumed study keeps its initial points"


@dataclass(frozen=True)
class _Seeded:
    """The part of a plan that the study uses: the seed, with the trial's number."""

    number: int
    seed: int


def test_a_point_of_an_earlier_study_is_trained_with_its_seed(ledger: Ledger) -> None:
    point = _study().space.defaults()[0]
    seen: dict[int, _Seeded] = {}

    def work(spec: TrialSpec, report: Report) -> TrialResult:
        seen[spec.trial_id] = spec.payload["plan"]
        report(1, {"accuracy": 0.5})
        return _result(0.5)

    study = _study(
        warm=lambda: WarmStart((WarmPoint(point, "old/33", None, 31),), ()),
        plan=lambda candidate, number: _Seeded(number, 100 + number),
    )
    _run(study, ledger, work)
    assert (seen[0].number, seen[0].seed) == (0, 131)
    assert {n: plan.seed for n, plan in seen.items() if n} == {n: 100 + n for n in range(1, 6)}
    rows = ledger.rows("s", SEARCH)
    assert [rows[str(n)].facts["seed_number"] for n in range(6)] == [31, 1, 2, 3, 4, 5]


def _diverges_above(lr: float) -> Callable[[TrialSpec, Report], TrialResult]:
    def work(spec: TrialSpec, report: Report) -> TrialResult:
        mine = spec.payload["plan"].train["lr"]
        if mine > lr:  # with different reasons, or the search would end after five
            raise Diverged(f"diverged: loss is nan at {mine}")
        return _result(0.5 + 0.1 * math.log10(mine / lr))

    return work


def test_diverged_trials_have_the_worst_value_for_the_sampler_only(
    ledger: Ledger,
) -> None:
    space, problems = make_space(["mlp"], ["stats57"], {}, fixed={"optimizer": "adamw"})
    assert space is not None, problems

    def plan(candidate: Candidate, number: int) -> Any:
        return candidate

    study = _study(space=space, plan=plan, search=SearchConfig(sampler="random", pruner="none"))
    trials = _run(study, ledger, _diverges_above(1e-3))
    again = StudyTrials(study, ledger, SILENT)
    rows = ledger.rows("s", SEARCH)
    states = [row.state for row in rows.values()]
    assert {"FAIL", "COMPLETE"} <= set(states)
    assert [state.name for state in _states(ledger)] == states
    for one in (trials, again):
        known = one._proposals._study.trials
        for trial, row in zip(known, rows.values(), strict=True):
            assert trial.state == TrialState.COMPLETE
            failed = row.state == "FAIL"
            assert trial.value == (0.0 if failed else row.facts["metrics"]["accuracy"])
            assert not failed or "metrics" not in row.facts


def test_the_sampler_ignores_other_failures(ledger: Ledger) -> None:
    def work(spec: TrialSpec, report: Report) -> TrialResult:
        if spec.trial_id == 1:
            raise ValueError("a bug")
        return _result(0.5)

    trials = _run(_study(search=SearchConfig(sampler="random", pruner="none")), ledger, work)
    known = trials._proposals._study.trials
    assert [t.state.name for t in known[:3]] == ["COMPLETE", "FAIL", "COMPLETE"]


def _n_diverging_proposals(seed: int, *, informed: bool) -> int:
    """How many of the last 36 of 60 proposals have a learning rate at which trainings diverge."""
    space, problems = make_space(["mlp"], ["stats57"], {}, fixed={"optimizer": "adamw"})
    assert space is not None, problems
    search = SearchConfig(sampler="tpe", seed=seed)
    proposals = Proposals(space, search, make_initial_points(space, search, n_trials=60))
    diverged = []
    for number in range(60):
        params, distributions = proposals.propose()
        excess = math.log10(params["train.lr"] / 6e-4)
        diverged.append(excess > 0)
        trial = create_trial(
            state=TrialState.FAIL if excess > 0 else TrialState.COMPLETE,
            params=params,
            distributions=distributions,
            value=None if excess > 0 else 0.5 + 0.1 * excess,  # best just below that
        )
        trial.number = number
        proposals.end(trial, Measured(is_worst=informed and excess > 0))
    return sum(diverged[24:])


def test_tpe_avoids_the_region_where_trainings_diverge() -> None:
    """Over twelve seeds 14.1 of 36 proposals were in it, and 19.7 without the information."""
    seeds = range(4)
    informed = sum(_n_diverging_proposals(seed, informed=True) for seed in seeds)
    uninformed = sum(_n_diverging_proposals(seed, informed=False) for seed in seeds)
    assert informed <= 0.85 * uninformed


def test_a_search_ends_after_enough_perfect_trials(ledger: Ledger) -> None:
    def work(spec: TrialSpec, report: Report) -> TrialResult:
        return _result(1.0 if spec.trial_id in (1, 4) else 0.9)

    changes: dict[str, Any] = {
        "search": SearchConfig(sampler="random", pruner="none"),
        "budget": BudgetConfig(trials=8, max_epochs=8),
        "max_perfect_trials": 2,
    }
    trials = _run(_study(**changes), ledger, work)
    assert len(ledger.rows("s", SEARCH)) == 5
    reason = "2 trials without an error on the validation tracks: none can be better"
    assert trials.ended_by() == reason
    assert StudyTrials(_study(**changes), ledger, SILENT).ended_by() == reason
    two = SearchConfig(sampler="random", pruner="none", second="n_parameters")
    again = StudyTrials(_study(**{**changes, "search": two}), ledger, SILENT)
    assert again.ended_by() is None  # the second objective may still improve


def test_known_good_points_are_tried_even_after_perfect_trials(ledger: Ledger) -> None:
    study = _study(search=SearchConfig(sampler="random", pruner="none"), max_perfect_trials=1)
    _run(study, ledger, lambda spec, report: _result(1.0))
    assert len(ledger.rows("s", SEARCH)) == 3  # half of the budget are defaults


@pytest.mark.parametrize(("steps", "n_pruned"), [(2, 0), (100, 5)])
def test_a_trial_with_few_optimiser_steps_is_not_pruned(
    ledger: Ledger, steps: int, n_pruned: int
) -> None:
    def work(spec: TrialSpec, report: Report) -> TrialResult:
        value = 0.9 - 0.1 * spec.trial_id
        for epoch in range(1, 9):
            if report(epoch, {"accuracy": value}) is Decision.STOP:
                break
        return _result(value)

    trials = _run(_study(steps_per_epoch=lambda plan: steps), ledger, work)
    pruned = [t for t in _states(ledger) if t == TrialState.PRUNED]
    assert len(pruned) == n_pruned
    assert len(trials.too_few_steps) == 5 - n_pruned


def test_a_trial_that_would_take_too_long_is_pruned_after_its_second_epoch(ledger: Ledger) -> None:
    clock = _Seconds()
    study = _timed_study(clock, max_trial_s=20.0)
    trials = StudyTrials(study, ledger, SILENT)

    def work(spec: TrialSpec, report: Report) -> TrialResult:
        return _epochs_of(clock, 3.0 if spec.trial_id == 0 else 1.0)(spec, report)

    LocalRunner().run(trials, work)
    states = {int(key): row.state for key, row in ledger.rows("s", SEARCH).items()}
    assert states == {0: "PRUNED", **dict.fromkeys(range(1, 6), "COMPLETE")}
    assert clock.now == 2 * 3 + 5 * 8


def test_no_trial_is_begun_that_could_not_end_in_time(ledger: Ledger) -> None:
    clock = _Seconds()
    study = _timed_study(clock, costs={"cnn": 250.0, "recurrent": 300.0})
    trials = StudyTrials(study, ledger, SILENT)
    LocalRunner().run(trials, _epochs_of(clock, 50.0))
    assert trials.ended_by() == "budget.minutes"
    # after one trial 200 s are left, which is enough for most of another, and then none
    assert len(ledger.rows("s", SEARCH)) == 2
