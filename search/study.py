"""The search stage: an Optuna study behind the Trials protocol of `cluster.base`.

Optuna proposes and prunes and remembers; a runner trains. What a trial said is in the bank before
the ledger says that the trial is over, so a committed trial always has its predictions.
"""

import math
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState

from cluster.base import Decision, End, Outcome, TrialSpec
from search.config import Budget, Search
from search.listener import Listener, Started
from search.space import Candidate, SearchSpace
from search.store import Ledger, Row
from search.trial import TrialPlan, TrialResult

STAGE = "search"
HALVING = 3
"""Successive halving lets one of so many trials go on at its rung."""


@dataclass(frozen=True)
class Study:
    """What the search stage is told: the space, the budget, and how to plan and keep a trial.

    `plan` turns a candidate and its trial number into a training run; `keep` puts its predictions
    into the bank. `time_left_s` says how long the search may still go on, in seconds.
    """

    name: str
    space: SearchSpace
    search: Search
    budget: Budget
    plan: Callable[[Candidate, int], TrialPlan]
    keep: Callable[[int, TrialResult], None]
    time_left_s: Callable[[], float]


class StudyTrials:
    """`Trials` over an Optuna study in the ledger."""

    def __init__(self, study: Study, ledger: Ledger, listener: Listener) -> None:
        """Opens or makes the Optuna study; trials that were running are asked again first."""
        self._study = study
        self._ledger = ledger
        self._listener = listener
        self._optuna = _optuna_study(study, ledger)
        self._running: dict[int, optuna.Trial] = {}
        self._candidates: dict[int, Candidate] = {}
        self._began: dict[int, float] = {}
        self._settle()
        self._again = [t.number for t in self._frozen() if t.state == TrialState.RUNNING]
        self._n_made = sum(t.state != TrialState.WAITING for t in self._frozen())
        if not self._frozen():
            for point in study.space.defaults():
                self._optuna.enqueue_trial(point)

    def ask(self, n: int) -> list[TrialSpec]:
        """Up to `n` trials: first those that an interruption left running, then new ones."""
        specs: list[TrialSpec] = []
        while len(specs) < n and not self._exhausted():
            trial = self._again_or_new()
            candidate = self._study.space.suggest(trial)
            self._running[trial.number] = trial
            self._candidates[trial.number] = candidate
            self._began[trial.number] = time.perf_counter()
            plan = self._study.plan(candidate, trial.number)
            specs.append(TrialSpec(trial.number, {"plan": plan}))
            self._listener.started(
                Started(trial.number, f"trial {trial.number}", candidate.architecture, trial.params)
            )
        return specs

    def done(self) -> bool:
        """Whether the budget is used up."""
        return self._exhausted()

    def report(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> Decision:
        """Keeps the epoch's value and asks the pruner."""
        value = metrics.get(self._study.search.objective, math.nan)
        self._listener.reported(trial_id, step, metrics)
        if not math.isfinite(value):
            return Decision.STOP
        trial = self._running[trial_id]
        with warnings.catch_warnings():
            # A trial that runs again after an interruption says its first epochs twice.
            warnings.filterwarnings("ignore", message=".*step.*already reported")
            trial.report(value, step)
        if step >= self._study.budget.max_epochs:
            return Decision.CONTINUE  # it is over by itself: there is nothing left to save
        if trial.should_prune() or self._study.time_left_s() <= 0:
            return Decision.STOP
        return Decision.CONTINUE

    def tell(self, trial_id: int, outcome: Outcome) -> None:
        """Commits how the trial ended: bank, then our row, then Optuna's state."""
        trial = self._running.pop(trial_id)
        state, reason, value = self._verdict(outcome)
        result: TrialResult | None = outcome.value
        if result is not None and state != TrialState.FAIL:
            self._study.keep(trial_id, result)
        row = self._row(trial, state, reason, outcome)
        self._ledger.record(self._study.name, STAGE, row)
        # A pruned trial's value is its last report, which Optuna takes by itself.
        values = value if state == TrialState.COMPLETE else None
        self._optuna.tell(trial, values, state=state)
        self._listener.ended(trial_id, row)

    def finish(self) -> None:
        """Ends the search: no trial stays RUNNING that nobody will run again."""
        for number in self._again:
            reason = "interrupted, and no time was left to run it again"
            self._ledger.record(self._study.name, STAGE, Row(str(number), "FAIL", reason))
            self._optuna.tell(number, state=TrialState.FAIL)
        self._again = []

    def _settle(self) -> None:
        """Tells Optuna of trials that were recorded just before a crash: they are not run again."""
        rows = self._ledger.rows(self._study.name, STAGE)
        for trial in self._frozen():
            row = rows.get(str(trial.number))
            if row is not None and trial.state == TrialState.RUNNING:
                complete = row.state == "COMPLETE"
                value = row.facts["metrics"][self._study.search.objective] if complete else None
                self._optuna.tell(trial.number, value, state=TrialState[row.state])

    def _verdict(self, outcome: Outcome) -> tuple[TrialState, str, float | None]:
        if outcome.end is End.FAILED:
            return TrialState.FAIL, outcome.reason, None
        value = float(outcome.value.metrics[self._study.search.objective])
        if not math.isfinite(value):
            return TrialState.FAIL, f"{self._study.search.objective} is {value}", None
        if outcome.end is End.STOPPED:
            late = self._study.time_left_s() <= 0
            return TrialState.PRUNED, "out of time" if late else "pruned", None
        return TrialState.COMPLETE, "", value

    def _row(self, trial: optuna.Trial, state: TrialState, reason: str, outcome: Outcome) -> Row:
        candidate = self._candidates.pop(trial.number)
        facts = {
            "architecture": candidate.architecture,
            "features": candidate.features,
            "config": dict(candidate.config),
            "train": dict(candidate.train),
            "params": trial.params,
            "elapsed_s": time.perf_counter() - self._began.pop(trial.number),
        }
        if outcome.traceback:
            facts["traceback"] = outcome.traceback
        if outcome.value is not None and state != TrialState.FAIL:
            facts |= outcome.value.facts()
        return Row(str(trial.number), state.name, reason, facts)

    def _exhausted(self) -> bool:
        if self._study.time_left_s() <= 0:
            return True
        return not self._again and self._n_made >= self._study.budget.trials

    def _again_or_new(self) -> optuna.Trial:
        if self._again:
            number = self._again.pop(0)
            stored = next(t for t in self._frozen() if t.number == number)
            return optuna.Trial(self._optuna, stored._trial_id)
        self._n_made += 1
        return self._optuna.ask()

    def _frozen(self) -> list[FrozenTrial]:
        return self._optuna.get_trials(deepcopy=False)


def _optuna_study(study: Study, ledger: Ledger) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name=study.name,
        storage=ledger.optuna,
        direction="maximize",
        sampler=_sampler(study.search),
        pruner=_pruner(study.search, study.budget),
        load_if_exists=True,
    )


def _sampler(search: Search) -> optuna.samplers.BaseSampler:
    if search.sampler == "random":
        return optuna.samplers.RandomSampler(seed=search.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=search.seed, multivariate=True, group=True, constant_liar=True
        )


def _pruner(search: Search, budget: Budget) -> optuna.pruners.BasePruner:
    if search.pruner == "none":
        return optuna.pruners.NopPruner()
    # Judged once, after a third of the epochs: earlier, a one-cycle schedule has hardly begun, and
    # the trials that end best would be the first to go.
    first = math.ceil(budget.max_epochs / HALVING)
    return optuna.pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=HALVING)
