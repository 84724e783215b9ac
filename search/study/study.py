"""The search stage: an Optuna study behind the Trials protocol of `cluster.base`.

`search.study.proposals` proposes, `search.study.pruner` prunes, the ledger stores, a runner trains.
A trial's predictions are written to the bank before its row to the ledger, so that a committed
trial always has its predictions.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from chorale.cluster.base import Decision, Outcome, TrialSpec
from chorale.search.config.schema import DEFAULT_TRIALS, BudgetConfig, SearchConfig
from chorale.search.config.space import ARCHITECTURE, Candidate, SearchSpace
from chorale.search.console.events import StudyListener, TrialStarted
from chorale.search.ledger._optuna import trial_id_of
from chorale.search.ledger.ledger import Ledger, Row
from chorale.search.ledger.pareto import second_objective
from chorale.search.ledger.stages import SEARCH
from chorale.search.paths import TrialPaths
from chorale.search.study import attempts
from chorale.search.study.budget import BudgetMeter
from chorale.search.study.early_stopping import EnsembleEarlyStopping
from chorale.search.study.initial_points import (
    InitialPoints,
    grid_initial_points,
    make_initial_points,
)
from chorale.search.study.proposals import Measured, Proposals
from chorale.search.study.pruner import MIN_OPTIMIZER_STEPS, make_pruner
from chorale.search.study.retries import Retries
from chorale.search.study.trial_outcome import (
    DIVERGED,
    OVER_LIMIT,
    candidate_facts,
    failure_kind,
    final_state,
    ledger_row,
    stop_if_disk_full,
    write_traceback,
)
from chorale.search.study.warm_start import WarmStart
from chorale.search.training.model_cost import ModelLimit, NetworkCost
from chorale.search.training.run_trial import remove_state
from chorale.search.training.trial_plan import TrialPlan, TrialResult

INITIAL_POINTS_ATTRIBUTE = "chorale:opening"
"""The attribute of the Optuna study that stores its initial points."""

ENOUGH_SHARE = 0.8
"""No trial is begun where less than this share of a trial's expected time is left."""

PARAMS_FAILURES = (DIVERGED, OVER_LIMIT)
"""Kinds of failures that a trial's parameters caused, so that a repetition fails as well."""

MAX_REFUSED_IN_A_ROW = 50
"""The search ends if so many networks in a row exceed the limit."""

N_ALIKE_FAILURES = 5
"""The search ends if this many first trials all fail for the same reason."""


@dataclass(frozen=True)
class SearchStage:
    """The settings of the search stage.

    `plan` turns a candidate and its trial number into a training run; `keep` writes its predictions
    into the bank. `meter` tracks the budget. `warm` is called once, when the study is new;
    `early_stopping`, if given, ends a search whose ensemble no longer improves. `files` gives the
    paths of a trial's files, if it has any. `steps_per_epoch` gives the optimiser steps per epoch
    of a plan; without it `MIN_OPTIMIZER_STEPS` does not apply. `max_perfect_trials` ends the
    search after this many trials of the highest possible objective: none can be better. `costs`
    maps architectures to the seconds of a trial, so that the defaults of quick ones come first. A
    trial that would take more than `max_trial_s` seconds is pruned after its second epoch. `limit`
    is what the sampler shall keep to; plans have it as well.
    """

    name: str
    space: SearchSpace
    search: SearchConfig
    meter: BudgetMeter
    plan: Callable[[Candidate, int], TrialPlan]
    keep: Callable[[int, TrialResult], None]
    warm: Callable[[], WarmStart] = WarmStart
    early_stopping: EnsembleEarlyStopping | None = None
    files: Callable[[int], TrialPaths] | None = None
    steps_per_epoch: Callable[[TrialPlan], int] | None = None
    max_perfect_trials: int | None = None
    costs: Mapping[str, float] = field(default_factory=dict)
    max_trial_s: float = math.inf
    limit: ModelLimit | None = None

    @property
    def budget(self) -> BudgetConfig:
        """The limits."""
        return self.meter.budget


@dataclass
class _Running:
    trial: optuna.Trial
    candidate: Candidate
    known: dict[int, float] = field(default_factory=dict)
    """its reports from before an interruption, by step"""
    steps_per_epoch: int | None = None
    first: tuple[int, float] | None = None
    """the step of its first report, and its seconds until then"""


class StudyTrials:
    """`Trials` over an Optuna study in the ledger."""

    def __init__(self, study: SearchStage, ledger: Ledger, listener: StudyListener) -> None:
        """Opens or creates the Optuna study; interrupted trials are asked again first."""
        self._study, self._ledger, self._listener = study, ledger, listener
        self._optuna = _open(study, ledger)
        self._initial = _initial_points(study, self._optuna)
        if self._initial.whole:
            study.meter.n_trials = min(study.budget.n_trials, len(self._initial.points))

        def reads_frames(params: Mapping[str, Any]) -> bool:
            return study.space.reads_frames(params[ARCHITECTURE])

        self._optuna.pruner = make_pruner(
            study.search.pruner,
            max_epochs=study.budget.n_epochs,
            hurdles=self._initial.hurdles(reads_frames),
            n_exempt=self._initial.n_warm,
            kind=lambda trial: reads_frames(trial.params),
        )
        self._running: dict[int, _Running] = {}
        self._retries = Retries()
        self._failures: list[str] | None = []
        self.too_few_steps: set[int] = set()
        """trials that the pruner would have stopped, but for `MIN_OPTIMIZER_STEPS`"""
        rows = ledger.rows(study.name, SEARCH)
        self._end_recorded(rows)
        self._again = [t.number for t in self._frozen() if t.state == TrialState.RUNNING]
        if study.files is not None:
            began = {str(n): study.files(n).config_yaml for n in self._again}
            attempts.record_interrupted(ledger, study.name, SEARCH, began)
        lost_s = attempts.lost_s(ledger, study.name, SEARCH)
        self._n_perfect = sum(map(self._is_perfect, rows.values()))
        self._n_complete = sum(row.state == "COMPLETE" for row in rows.values())
        self._refused_in_a_row = 0
        for key in sorted(rows, key=int):
            self._count_refused(rows[key])
        study.meter.restore(rows.values(), study.search.objective, lost_s=lost_s)
        self._proposals = Proposals(study.space, study.search, self._initial)
        for trial in self._frozen():
            row = rows.get(str(trial.number))
            self._proposals.restore(trial, self._measured(row))
        self._n_made = len(self._frozen())

    @property
    def notes(self) -> list[str]:
        """Lines for the user before the first trial: which points are left out, and why."""
        found = [*self._initial.left_out, *self._study.meter.notes()]
        n, trials = len(self._initial.points), self._study.budget.n_trials
        if self._initial.whole and n > trials:
            found.append(f"grid: {trials} of {n} points are tried; --budget.trials {n} tries all")
        return found

    @property
    def running(self) -> tuple[int, ...]:
        """The trials that were asked and have not ended."""
        return (*self._running, *self._again)

    def ask(self, n: int) -> list[TrialSpec]:
        """Up to `n` trials: first interrupted and lost ones, then new ones."""
        specs: list[TrialSpec] = []
        while len(specs) < n and self.ended_by() is None:
            running = self._again_or_new()
            number, candidate = running.trial.number, running.candidate
            self._running[number] = running
            self._study.meter.start(number)
            plan = self._retries.plan(number, self._plan(candidate, number))
            if self._study.steps_per_epoch is not None:
                running.steps_per_epoch = self._study.steps_per_epoch(plan)
            specs.append(TrialSpec(number, {"plan": plan}))
            params = running.trial.params
            self._listener.started(
                TrialStarted(number, f"trial {number}", candidate.architecture, params)
            )
        # Before training: the files in a trial's folder must belong to a trial of the ledger.
        self._ledger.flush()
        return specs

    def _plan(self, candidate: Candidate, number: int) -> TrialPlan:
        """The training run of a trial, with the seed of the trial that it repeats, if any."""
        plan, seeded = self._study.plan(candidate, number), self._initial.seed_number(number)
        if seeded == number:
            return plan
        return replace(plan, seed=self._study.plan(candidate, seeded).seed)

    def done(self) -> bool:
        """Whether the search has ended.

        While time is left, a running trial may be lost and retried.
        """
        return self.ended_by() is not None and not (self._running and self._stopped_by() is None)

    def ended_by(self) -> str | None:
        """What ended the search, such as "budget.trials"; None while there are trials."""
        if (stopped := self._stopped_by()) is not None:
            return stopped
        if not self._again and self._n_made >= self._study.meter.n_trials:
            return "the grid, which is complete" if self._initial.whole else "budget.trials"
        return None

    @property
    def _n_initial(self) -> int:
        """The number of known-good points, all of which are tried in any case."""
        return min(len(self._initial.points), self._study.meter.n_trials)

    def _count_refused(self, row: Row) -> None:
        """A refused network cost no training, so another may be tried, except of a grid."""
        if row.facts.get("failure") != OVER_LIMIT:
            self._refused_in_a_row = 0
            return
        self._refused_in_a_row += 1
        if not self._initial.whole:
            self._study.meter.n_trials += 1

    def _is_perfect(self, row: Row) -> bool:
        """Whether no trial can be better; unknown with two objectives."""
        if row.state != "COMPLETE" or self._study.search.second != "none":
            return False
        return float(row.facts["metrics"][self._study.search.objective]) >= 1.0

    def _stopped_by(self) -> str | None:
        """What ends the search before all its trials are asked."""
        if (limit := self._study.meter.spent_limit()) is not None:
            return limit
        # A trial that cannot end in time is not begun: the finalists use the time.
        least_s = ENOUGH_SHARE * min(self._study.costs.values(), default=0.0)
        if self._n_complete and self._study.meter.time_left_s() < least_s:
            return "budget.minutes"
        if self._refused_in_a_row >= MAX_REFUSED_IN_A_ROW:
            return f"the limit, which {MAX_REFUSED_IN_A_ROW} networks in a row exceed"
        early_stopping = self._study.early_stopping
        if early_stopping is not None and early_stopping.exhausted:
            return "budget.patience"
        enough = self._study.max_perfect_trials
        if enough is not None and self._n_perfect >= enough and self._n_made >= self._n_initial:
            return (
                f"{self._n_perfect} trials without an error on the validation tracks: none can "
                f"be better"
            )
        if self._failures is not None and len(self._failures) >= N_ALIKE_FAILURES:
            return f"the first {N_ALIKE_FAILURES} trials, which all failed in the same way"
        return None

    def report(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> Decision:
        """Stores the epoch's objective and asks the pruner."""
        value = metrics.get(self._study.search.objective, math.nan)
        self._listener.reported(trial_id, step, metrics)
        if not math.isfinite(value):
            return Decision.STOP
        running = self._running[trial_id]
        if step not in running.known:  # a resumed trial reports its first epochs twice
            running.trial.report(value, step)
        if step >= self._study.budget.n_epochs:
            return Decision.CONTINUE  # its last epoch: nothing to save by pruning
        if self._study.meter.time_left_s() <= 0:
            return Decision.STOP
        if self._expected_s(running, trial_id, step) > self._study.max_trial_s:
            return Decision.STOP
        # Reports from before the interruption were pruned on then, except for the last one.
        if step >= max(running.known, default=0) and running.trial.should_prune():
            if (
                running.steps_per_epoch is None
                or step * running.steps_per_epoch >= MIN_OPTIMIZER_STEPS
            ):
                self.too_few_steps.discard(trial_id)
                return Decision.STOP
            self.too_few_steps.add(trial_id)
        return Decision.CONTINUE

    def _expected_s(self, running: _Running, trial_id: int, step: int) -> float:
        """The expected seconds of a whole trial; 0 at its first report.

        A first epoch is not typical: it may include the start of a process.
        """
        now_s = self._study.meter.running_s(trial_id)
        if running.first is None:
            running.first = (step, now_s)
        first_step, first_s = running.first
        if step == first_step:
            return 0.0
        return (now_s - first_s) / (step - first_step) * self._study.budget.n_epochs

    def tell(self, trial_id: int, outcome: Outcome) -> None:
        """Commits the end of a trial: first its predictions, then our row, then Optuna's state.

        A trial that is retried stays RUNNING, and is asked next.
        """
        stop_if_disk_full(f"trial {trial_id}", outcome)
        running, search = self._running.pop(trial_id), self._study.search
        if self._stopped_by() is None and self._retries.again(trial_id, outcome):
            self._again.append(trial_id)
            attempts.record_lost(
                self._ledger,
                self._study.name,
                SEARCH,
                str(trial_id),
                elapsed_s=self._study.meter.lost(trial_id),
                reason=outcome.reason,
                failure=failure_kind(outcome),
            )
            return
        late = self._study.meter.time_left_s() <= 0
        state, reason = final_state(outcome, objective=search.objective, late=late)
        result: TrialResult | None = None if state == TrialState.FAIL else outcome.value
        score = -math.inf
        if result is not None:
            self._study.keep(trial_id, result)
            score = float(result.metrics[search.objective])
        facts = {
            **candidate_facts(running.candidate, running.trial.params),
            "origin": self._initial.origin(trial_id, search.sampler),
            "seed_number": self._initial.seed_number(trial_id),
            "elapsed_s": self._study.meter.end(trial_id, state.name, score),
            **self._retries.facts(trial_id),
        }
        if self._study.files is not None and state == TrialState.FAIL:
            facts |= write_traceback(self._study.files(trial_id).error, outcome)
        row = ledger_row(trial_id, state, reason, facts, outcome)
        self._ledger.record(self._study.name, SEARCH, row)
        ended = self._end(running.trial, row)
        self._proposals.end(ended, self._measured(row))
        self._n_perfect += self._is_perfect(row)
        self._n_complete += row.state == "COMPLETE"
        self._count_refused(row)
        self._check_progress(trial_id, row, result)
        self._listener.ended(trial_id, row)

    def _measured(self, row: Row | None) -> Measured:
        """What the sampler learns of a trial besides its objective."""
        if row is None:
            return Measured()
        cost, limit = NetworkCost.of_facts(row.facts), self._study.limit
        return Measured(
            second_objective(row, self._study.search.second),
            is_worst=_failed_by_params(row),
            excesses={} if cost is None or limit is None else limit.excesses(cost),
        )

    def finish(self) -> None:
        """Ends the search: trials that will not be run again become FAIL instead of RUNNING."""
        for number in self._again:
            reason = "interrupted, and no time was left to run it again"
            params = self._frozen()[number].params
            facts = candidate_facts(self._study.space.candidate(_from(params)), params)
            facts["failure"] = attempts.INTERRUPTED
            self._ledger.record(self._study.name, SEARCH, Row(str(number), "FAIL", reason, facts))
            self._optuna.tell(number, state=TrialState.FAIL)
        self._again = []

    def _end_recorded(self, rows: Mapping[str, Row]) -> None:
        """Ends Optuna's trials that were recorded just before a crash: they are not run again."""
        for trial in self._frozen():
            row = rows.get(str(trial.number))
            if row is not None and trial.state == TrialState.RUNNING:
                self._end(trial.number, row)

    def _end(self, trial: optuna.Trial | int, row: Row) -> FrozenTrial:
        """Ends a trial in Optuna's study; the value of a pruned one is its last report."""
        if self._study.files is not None:
            remove_state(self._study.files(int(row.key)))
        complete = row.state == "COMPLETE"
        value = float(row.facts["metrics"][self._study.search.objective]) if complete else None
        return self._optuna.tell(trial, value, state=TrialState[row.state])

    def _check_progress(self, number: int, row: Row, result: TrialResult | None) -> None:
        """Updates early stopping, and the reasons of failures while all trials have failed."""
        if row.state != "FAIL":
            self._failures = None
            if (stopping := self._study.early_stopping) is not None:
                complete = row.state == "COMPLETE" and result is not None
                stopping.add(number, result.valid_proba if complete and result else None)
        elif self._failures is not None:
            alike = all(reason == row.reason for reason in self._failures)
            self._failures = [*self._failures, row.reason] if alike else None

    def _again_or_new(self) -> _Running:
        if self._again:
            stored = self._frozen()[self._again.pop(0)]
            known = dict(stored.intermediate_values)
        else:
            params, distributions = self._proposals.propose()
            self._optuna.add_trial(
                create_trial(state=TrialState.RUNNING, params=params, distributions=distributions)
            )
            self._n_made += 1
            stored, known = self._frozen()[-1], {}
        candidate = self._study.space.candidate(_from(stored.params))
        return _Running(optuna.Trial(self._optuna, trial_id_of(stored)), candidate, known)

    def _frozen(self) -> list[FrozenTrial]:
        return self._optuna.get_trials(deepcopy=False)


def _failed_by_params(row: Row | None) -> bool:
    """Whether a trial's parameters made it fail: it diverged, or exceeded a limit."""
    return row is not None and row.state == "FAIL" and row.facts.get("failure") in PARAMS_FAILURES


def _open(study: SearchStage, ledger: Ledger) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name=study.name,
        storage=ledger.optuna,
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(seed=study.search.seed),  # not used
        load_if_exists=True,
    )


def _initial_points(study: SearchStage, stored: optuna.Study) -> InitialPoints:
    """The initial points: determined when the study is new, later read from the study."""
    if study.search.sampler == "grid":
        return grid_initial_points(study.space, seed=study.search.seed)
    if INITIAL_POINTS_ATTRIBUTE in stored.user_attrs:
        return InitialPoints.from_json(stored.user_attrs[INITIAL_POINTS_ATTRIBUTE])
    warm = study.warm()
    points = make_initial_points(
        study.space,
        study.search,
        n_trials=study.budget.n_trials,
        n_expected=DEFAULT_TRIALS if study.budget.trials is None else study.budget.trials,
        warm=warm.points,
        costs=study.costs,
    ).with_left_out(warm.left_out)
    stored.set_user_attr(INITIAL_POINTS_ATTRIBUTE, points.to_json())
    return points


def _from(params: Mapping[str, Any]) -> Callable[..., Any]:
    return lambda name, _: params[name]
