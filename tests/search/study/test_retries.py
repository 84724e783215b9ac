"""Retries of runs that were out of memory or lost their worker, and records of lost attempts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from chorale.cluster.base import End, Failure, Outcome
from chorale.search.config.schema import BudgetConfig, SearchConfig
from chorale.search.config.space import make_space
from chorale.search.console.events import StudyListeners
from chorale.search.ledger import stages, tables
from chorale.search.ledger.ledger import Ledger, Row
from chorale.search.ledger.stages import SEARCH, Job
from chorale.search.paths import TrialPaths
from chorale.search.study import attempts
from chorale.search.study.budget import BudgetMeter
from chorale.search.study.finalists import FinalistStage, FinalistTrials
from chorale.search.study.retries import MAX_LOST_RETRIES
from chorale.search.study.schedule import Schedule
from chorale.search.study.study import SearchStage, StudyTrials
from chorale.search.training.trial_plan import TrialResult

SILENT = StudyListeners(())
LOST = Outcome(End.FAILED, None, "worker lost: it died", "its last lines", Failure.LOST)
PREEMPTED = Outcome(End.FAILED, None, "preempted: interrupted after epoch 3", "", Failure.PREEMPTED)
STALLED = Outcome(End.FAILED, None, "stalled: no report for 30 minutes", "", Failure.STALLED)
FULL = Outcome(End.FAILED, None, "MemoryError", "Traceback ...", Failure.OUT_OF_MEMORY)
BUG = Outcome(End.FAILED, None, "ValueError: no", "Traceback ...", Failure.RAISED)
DIVERGED = Outcome(End.FAILED, None, "Diverged: diverged: loss is nan", "...", Failure.RAISED)
DONE = Outcome(
    End.FINISHED,
    TrialResult({"accuracy": 0.5}, 1, 10, 0.1, 0.1, 0.1, np.full((2, 2), 0.5, np.float32)),
)


@dataclass(frozen=True)
class Plan:
    """A substitute for `TrialPlan`."""

    n_slices: int = 1


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(f"sqlite:///{tmp_path / 'chorale.db'}")


class Stage:
    """The search or the finalists' stage, with three runs; number 0 comes first."""

    def __init__(self, which: str, ledger: Ledger, folder: Path, wall_s: Sequence[float]) -> None:
        self.ledger, self.which = ledger, which
        self.wall_s = wall_s
        self.folder = folder
        plan: Any = lambda *_: Plan()  # noqa: E731
        if which == "finalists":
            jobs = [Job(0, fold, 0) for fold in range(3)]
            facts: Any = lambda number: {"architecture": "cnn"}  # noqa: E731
            finals = FinalistStage("s", jobs, plan, lambda *_: None, facts, lambda job: self.files)
            self.trials: Any = FinalistTrials(finals, ledger, SILENT)
        else:
            space, problems = make_space(["cnn"], ["mel"], {}, fixed={})
            assert space is not None, problems
            meter = BudgetMeter(
                BudgetConfig(trials=3), schedule=Schedule(60, wall_s=lambda: wall_s[-1])
            )
            search = SearchConfig(sampler="random", pruner="none")
            keep: Any = lambda *_: None  # noqa: E731
            study = SearchStage(
                "s", space, search, meter, plan, keep, files=lambda number: self.files
            )
            self.trials = StudyTrials(study, ledger, SILENT)

    @property
    def files(self) -> TrialPaths:
        return TrialPaths(self.folder)

    def rows(self) -> list[Row]:
        return list(self.ledger.rows("s", self.which).values())

    def first(self, *outcomes: Outcome) -> list[Plan]:
        """Runs number 0 until it ends, with these outcomes in turn; returns its plans."""
        plans = []
        for outcome in outcomes:
            assert self.rows() == []
            assert not self.trials.done()
            [spec] = self.trials.ask(1)
            assert spec.trial_id == 0
            plans.append(spec.payload["plan"])
            self.trials.tell(0, outcome)
        return plans

    def rest(self) -> None:
        """Runs the rest, each successfully."""
        while not self.trials.done():
            for spec in self.trials.ask(2):
                self.trials.tell(spec.trial_id, DONE)


@pytest.fixture(params=[SEARCH, "finalists"])
def stage(request: pytest.FixtureRequest, ledger: Ledger, tmp_path: Path) -> Stage:
    return Stage(request.param, ledger, tmp_path / "files", [0.0])


@pytest.mark.parametrize(
    ("outcomes", "slices", "facts"),
    [
        ([DONE], [1], {}),
        ([LOST, DONE], [1, 1], {"n_lost": 1}),
        ([LOST, STALLED, LOST, DONE], [1] * 4, {"n_lost": 3}),
        ([PREEMPTED] * 9 + [DONE], [1] * 10, {"n_preempted": 9}),
        ([FULL, DONE], [1, 2], {"n_slices": 2}),
        ([LOST, FULL, LOST, DONE], [1, 1, 2, 2], {"n_lost": 2, "n_slices": 2}),
    ],
)
def test_a_retried_run_has_one_row_and_uses_no_budget(
    stage: Stage, outcomes: list[Outcome], slices: list[int], facts: dict[str, int]
) -> None:
    assert [plan.n_slices for plan in stage.first(*outcomes)] == slices
    [row] = stage.rows()
    assert row.state == "COMPLETE"
    assert {
        k: row.facts[k] for k in ("n_lost", "n_preempted", "n_slices") if k in row.facts
    } == facts
    stage.rest()
    assert [row.state for row in stage.rows()] == ["COMPLETE"] * 3, "the budget, and no more"
    assert not any("n_lost" in row.facts for row in stage.rows()[1:])


@pytest.mark.parametrize(
    ("outcomes", "kind"),
    [
        ([LOST] * (MAX_LOST_RETRIES + 1), "worker lost"),
        ([STALLED] * (MAX_LOST_RETRIES + 1), "stalled"),
        ([FULL, FULL], "out of memory"),
        ([FULL, BUG], "bug"),
        ([BUG], "bug"),
        ([DIVERGED], "diverged"),
    ],
)
def test_a_run_that_fails_finally_records_the_kind_of_failure_and_its_log(
    stage: Stage, outcomes: list[Outcome], kind: str
) -> None:
    stage.first(*outcomes)
    [row] = stage.rows()
    assert (row.state, row.reason, row.facts["failure"]) == ("FAIL", outcomes[-1].reason, kind)
    if outcomes[-1].traceback:
        assert row.facts["log"] == str(stage.files.error)
        assert stage.files.error.read_text() == outcomes[-1].traceback
    stage.rest()
    assert [row.state for row in stage.rows()] == ["FAIL", "COMPLETE", "COMPLETE"]


@pytest.mark.parametrize("end", [DONE, BUG])
def test_the_training_state_of_a_run_is_kept_until_it_is_committed(
    stage: Stage, end: Outcome
) -> None:
    stage.files.state.mkdir(parents=True)
    stage.first(LOST)
    assert stage.files.state.is_dir()
    stage.first(end)
    assert not stage.files.state.exists()


def test_the_last_run_is_retried_if_it_is_lost(stage: Stage) -> None:
    numbers = [spec.trial_id for spec in stage.trials.ask(3)]
    assert stage.trials.ask(1) == []
    assert not stage.trials.done()
    for number in numbers[:2]:
        stage.trials.tell(number, DONE)
    stage.trials.tell(numbers[2], LOST)
    [spec] = stage.trials.ask(3)
    assert spec.trial_id == numbers[2]
    stage.trials.tell(spec.trial_id, DONE)
    assert stage.trials.done()


def test_a_trial_between_two_attempts_is_running_and_keeps_its_reports(
    ledger: Ledger, tmp_path: Path
) -> None:
    stage = Stage(SEARCH, ledger, tmp_path, [0.0])
    [spec] = stage.trials.ask(1)
    stage.trials.report(0, 1, {"accuracy": 0.25})
    stage.trials.tell(spec.trial_id, LOST)
    assert stage.trials.running == (0,)
    [spec] = stage.trials.ask(1)
    stage.trials.report(0, 1, {"accuracy": 0.25})
    stage.trials.report(0, 2, {"accuracy": 0.5})
    stage.trials.tell(0, DONE)
    [trial] = optuna.load_study(study_name="s", storage=ledger.optuna).trials
    assert trial.intermediate_values == {1: 0.25, 2: 0.5}
    assert trial.state.name == "COMPLETE"


def test_when_time_is_up_a_lost_trial_is_not_retried(ledger: Ledger, tmp_path: Path) -> None:
    wall_s = [0.0]
    stage = Stage(SEARCH, ledger, tmp_path, wall_s)
    stage.trials.ask(1)
    wall_s.append(60.0)
    stage.trials.tell(0, LOST)
    assert stage.trials.done()
    assert [row.state for row in stage.rows()] == ["FAIL"]


def test_lost_attempts_are_recorded(stage: Stage) -> None:
    stage.first(LOST, STALLED, DONE)
    lost = stage.ledger.rows("s", stages.ATTEMPTS)
    key = f"{stage.which}/{stage.rows()[0].key}"
    assert [(k, row.state, row.reason) for k, row in lost.items()] == [
        (f"{key}/0", "LOST", LOST.reason),
        (f"{key}/1", "LOST", STALLED.reason),
    ]
    assert all(row.facts["elapsed_s"] > 0 for row in lost.values())
    assert [row.facts["failure"] for row in lost.values()] == ["worker lost", "stalled"]
    assert attempts.lost_s(stage.ledger, "s", stage.which) > 0


def test_lost_attempts_count_as_core_hours_also_after_a_resume() -> None:
    now_s = [0.0]
    meter = BudgetMeter(BudgetConfig(core_hours=1.0), clock=lambda: now_s[0])
    for ends in (meter.lost, meter.lost, meter.lost):
        meter.start(0)
        now_s[0] += 600
        ends(0)
    meter.start(0)
    now_s[0] += 600
    assert meter.end(0, "COMPLETE") == 600
    assert meter.time_left_s() == 3600 - 2400
    again = BudgetMeter(BudgetConfig(core_hours=1.0), clock=lambda: now_s[0])
    again.restore([Row("0", "COMPLETE", facts={"elapsed_s": 600.0})], "accuracy", lost_s=1800.0)
    assert again.time_left_s() == 3600 - 2400


@pytest.mark.parametrize("which", [SEARCH, "finalists"])
def test_attempts_running_when_a_session_died_are_recorded_once(
    which: str, ledger: Ledger, tmp_path: Path
) -> None:
    ledger.create("s", {})
    first = Stage(which, ledger, tmp_path / "files", [0.0])
    first.trials.ask(1)
    ledger.flush()
    first.files.root.mkdir()
    first.files.config_yaml.write_text("written by a worker when it begins")
    ledger._database.write(
        lambda c: c.execute(tables.studies.update().values(beat_s=tables.studies.c.beat_s + 100.0))
    )  # and then it died
    for _ in range(2):
        ledger.reopen("s", {})
        Stage(which, ledger, tmp_path / "files", [0.0])
    lost = list(ledger.rows("s", stages.ATTEMPTS).values())
    assert {row.reason for row in lost} == {"the sweep was interrupted"}
    seconds = {row.key: row.facts["elapsed_s"] for row in lost}
    assert {row.facts["failure"] for row in lost} == {"interrupted"}
    assert all(90 < each <= 101 for each in seconds.values())
    # all runs of this test write into one folder, so all unfinished finalists seem to have begun
    assert len(seconds) == (1 if which == SEARCH else 3)


def test_a_finalist_that_failed_before_keeps_its_cost(ledger: Ledger, tmp_path: Path) -> None:
    Stage("finalists", ledger, tmp_path, [0.0]).first(BUG)
    Stage("finalists", ledger, tmp_path, [0.0]).rest()
    [row] = ledger.rows("s", stages.ATTEMPTS).values()
    assert (row.key, row.reason) == ("finalists/0/0/0/0", BUG.reason)
    assert row.facts["failure"] == "bug"
