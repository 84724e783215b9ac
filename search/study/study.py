"""The search stage: an Optuna study behind the Trials protocol of `cluster.base`.

`search.study.proposals` proposes, `search.study.pruner` prunes, the ledger remembers; a runner
trains. What a trial said is in the bank before the ledger says that the trial is over, so a
committed trial always has its predictions.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from chorale.cluster.base import Decision, Outcome, TrialSpec
from chorale.search.config.schema import Budget, Search
from chorale.search.config.space import Candidate, SearchSpace
from chorale.search.console.events import Listener, Started
from chorale.search.ledger.ledger import Ledger, Row
from chorale.search.ledger.pareto import second_value
from chorale.search.ledger.stages import SEARCH
from chorale.search.paths import TrialPaths
from chorale.search.study import attempts
from chorale.search.study.budget import Meter
from chorale.search.study.early_stopping import EnsembleWatch
from chorale.search.study.initial_points import Opening, grid_opening, make_opening
from chorale.search.study.proposals import Proposals
from chorale.search.study.pruner import FEWEST_STEPS, make_pruner
from chorale.search.study.retries import Retries
from chorale.search.study.trial_outcome import (
    DIVERGED_KIND,
    TOO_SLOW,
    facts_of,
    keep_traceback,
    refuse_no_room,
    row_of,
    verdict,
)
from chorale.search.study.warm_start import WarmStart
from chorale.search.training.run_trial import TrialPlan, TrialResult, forget_state

OPENING = "chorale:opening"
"""The attribute of the Optuna study that keeps how it opens."""

ALIKE = 5
"""So many first trials that all fail in the same way end the search."""


@dataclass(frozen=True)
class Study:
    """What the search stage is told: the space, the budget, and how to plan and keep a trial.

    `plan` turns a candidate and its trial number into a training run; `keep` puts its predictions
    into the bank. `meter` knows the budget and what is left of it. `warm` is asked once, when the
    study is new; `watch`, where there is one, ends a search whose ensemble no longer improves.
    `files` says where a trial's files lie, if it leaves any. `steps_per_epoch` gives the optimiser
    steps that an epoch of a plan takes; without it none is too young to be pruned. `n_enough` is
    how many trials are wanted in the end: once so many are without a fault, none can be better.
    """

    name: str
    space: SearchSpace
    search: Search
    meter: Meter
    plan: Callable[[Candidate, int], TrialPlan]
    keep: Callable[[int, TrialResult], None]
    warm: Callable[[], WarmStart] = WarmStart
    watch: EnsembleWatch | None = None
    files: Callable[[int], TrialPaths] | None = None
    steps_per_epoch: Callable[[TrialPlan], int] | None = None
    n_enough: int | None = None

    @property
    def budget(self) -> Budget:
        """The limits."""
        return self.meter.budget


@dataclass
class _Running:
    trial: optuna.Trial
    candidate: Candidate
    known: dict[int, float] = field(default_factory=dict)
    """what it reported before an interruption, by step"""
    steps_per_epoch: int | None = None


class StudyTrials:
    """`Trials` over an Optuna study in the ledger."""

    def __init__(self, study: Study, ledger: Ledger, listener: Listener) -> None:
        """Opens or makes the Optuna study; trials that were running are asked again first."""
        self._study, self._ledger, self._listener = study, ledger, listener
        self._optuna = _open(study, ledger)
        self._opening = _opening(study, self._optuna)
        if self._opening.whole:
            study.meter.n_trials = min(study.budget.trials, len(self._opening.points))
        self._optuna.pruner = make_pruner(
            study.search.pruner,
            max_epochs=study.budget.max_epochs,
            hurdle=self._opening.hurdle,
            n_exempt=self._opening.n_warm,
        )
        self._running: dict[int, _Running] = {}
        self._retries = Retries()
        self._failures: list[str] | None = []
        self.too_young: set[int] = set()
        """trials that were not judged where others were, for they had made too few steps"""
        rows = ledger.rows(study.name, SEARCH)
        self._settle(rows)
        self._again = [t.number for t in self._frozen() if t.state == TrialState.RUNNING]
        if study.files is not None:
            began = {str(n): study.files(n).config_yaml for n in self._again}
            attempts.book_interrupted(ledger, study.name, SEARCH, began)
        lost_s = attempts.lost_s(ledger, study.name, SEARCH)
        self._n_faultless = sum(map(self._is_faultless, rows.values()))
        study.meter.restore(rows.values(), lost_s=lost_s)
        self._proposals = Proposals(study.space, study.search, self._opening)
        for trial in self._frozen():
            row = rows.get(str(trial.number))
            second = None if row is None else second_value(row, study.search.second)
            self._proposals.restore(trial, second, **_hopeless(row))
        self._n_made = len(self._frozen())

    @property
    def notes(self) -> list[str]:
        """What a person should know before the first trial: what was left out, and why."""
        found = [*self._opening.left_out, *self._study.meter.notes()]
        n, trials = len(self._opening.points), self._study.budget.trials
        if self._opening.whole and n > trials:
            found.append(f"grid: {trials} of {n} points are tried; --budget.trials {n} tries all")
        return found

    @property
    def running(self) -> tuple[int, ...]:
        """The trials that were asked and have not ended."""
        return (*self._running, *self._again)

    def ask(self, n: int) -> list[TrialSpec]:
        """Up to `n` trials: first those that an interruption left running, then new ones."""
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
                Started(number, f"trial {number}", candidate.architecture, params)
            )
        # Before anything is trained: what a trial leaves in its folder must belong to its number.
        self._ledger.flush()
        return specs

    def _plan(self, candidate: Candidate, number: int) -> TrialPlan:
        """The training of a trial, by the seed of the trial that it repeats, if it does."""
        plan, seeded = self._study.plan(candidate, number), self._opening.seed_number(number)
        if seeded == number:
            return plan
        return replace(plan, seed=self._study.plan(candidate, seeded).seed)

    def done(self) -> bool:
        """Whether the budget is used up, or going on makes no sense.

        While time is left a running trial may be lost, and tried again.
        """
        return self.ended_by() is not None and not (self._running and self._stopped_by() is None)

    def ended_by(self) -> str | None:
        """What ends the search, in the words of the sweep file; None while there are trials."""
        if (stopped := self._stopped_by()) is not None:
            return stopped
        if not self._again and self._n_made >= self._study.meter.n_trials:
            return "the grid, all of which is tried" if self._opening.whole else "budget.trials"
        return None

    @property
    def _n_opening(self) -> int:
        """Every known-good point is tried, whatever others reached."""
        return min(len(self._opening.points), self._study.meter.n_trials)

    def _is_faultless(self, row: Row) -> bool:
        """Whether no trial can be better: of two objectives nobody knows."""
        if row.state != "COMPLETE" or self._study.search.second != "none":
            return False
        return float(row.facts["metrics"][self._study.search.objective]) >= 1.0

    def _stopped_by(self) -> str | None:
        """What ends the search before all its trials are made."""
        if (limit := self._study.meter.spent_limit()) is not None:
            return limit
        if self._study.watch is not None and self._study.watch.exhausted:
            return "budget.patience"
        enough = self._study.n_enough
        if enough is not None and self._n_faultless >= enough and self._n_made >= self._n_opening:
            return (
                f"{self._n_faultless} trials without a fault on the validation tracks: none can "
                f"be better"
            )
        if self._failures is not None and len(self._failures) >= ALIKE:
            return f"the first {ALIKE} trials, which all failed in the same way"
        return None

    def report(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> Decision:
        """Keeps the epoch's value and asks the pruner."""
        value = metrics.get(self._study.search.objective, math.nan)
        self._listener.reported(trial_id, step, metrics)
        if not math.isfinite(value):
            return Decision.STOP
        running = self._running[trial_id]
        if step not in running.known:  # a trial that runs again says its first epochs twice
            running.trial.report(value, step)
        if step >= self._study.budget.max_epochs:
            return Decision.CONTINUE  # it is over by itself: there is nothing left to save
        if self._study.meter.time_left_s() <= 0:
            return Decision.STOP
        # What it said before the interruption was judged then, but for the last word.
        if step >= max(running.known, default=0) and running.trial.should_prune():
            if running.steps_per_epoch is None or step * running.steps_per_epoch >= FEWEST_STEPS:
                self.too_young.discard(trial_id)
                return Decision.STOP
            self.too_young.add(trial_id)
        return Decision.CONTINUE

    def tell(self, trial_id: int, outcome: Outcome) -> None:
        """Commits how the trial ended: bank, then our row, then Optuna's state.

        One that shall be tried again stays as it is, RUNNING, and is asked next.
        """
        refuse_no_room(f"trial {trial_id}", outcome)
        running, search = self._running.pop(trial_id), self._study.search
        if self._stopped_by() is None and self._retries.again(trial_id, outcome):
            self._again.append(trial_id)
            elapsed_s, reason = self._study.meter.lost(trial_id), outcome.reason
            name, key = self._study.name, str(trial_id)
            attempts.book(self._ledger, name, SEARCH, key, elapsed_s=elapsed_s, reason=reason)
            return
        late = self._study.meter.time_left_s() <= 0
        state, reason = verdict(outcome, objective=search.objective, late=late)
        result: TrialResult | None = outcome.value
        if result is not None and state != TrialState.FAIL:
            self._study.keep(trial_id, result)
        facts = {
            **facts_of(running.candidate, running.trial.params),
            "origin": self._opening.origin(trial_id, search.sampler),
            "seed_number": self._opening.seed_number(trial_id),
            "elapsed_s": self._study.meter.end(trial_id, state.name),
            **self._retries.facts(trial_id),
        }
        if self._study.files is not None and state == TrialState.FAIL:
            facts |= keep_traceback(self._study.files(trial_id).error, outcome)
        row = row_of(trial_id, state, reason, facts, outcome)
        self._ledger.record(self._study.name, SEARCH, row)
        ended = self._end(running.trial, row)
        self._proposals.end(ended, second_value(row, search.second), **_hopeless(row))
        self._n_faultless += self._is_faultless(row)
        self._watch(trial_id, row, result)
        self._listener.ended(trial_id, row)

    def finish(self) -> None:
        """Ends the search: no trial stays RUNNING that nobody will run again."""
        for number in self._again:
            reason = "interrupted, and no time was left to run it again"
            params = self._frozen()[number].params
            facts = facts_of(self._study.space.candidate(_from(params)), params)
            self._ledger.record(self._study.name, SEARCH, Row(str(number), "FAIL", reason, facts))
            self._optuna.tell(number, state=TrialState.FAIL)
        self._again = []

    def _settle(self, rows: Mapping[str, Row]) -> None:
        """Tells Optuna of trials that were recorded just before a crash: they are not run again."""
        for trial in self._frozen():
            row = rows.get(str(trial.number))
            if row is not None and trial.state == TrialState.RUNNING:
                self._end(trial.number, row)

    def _end(self, trial: optuna.Trial | int, row: Row) -> FrozenTrial:
        """Tells Optuna how a trial ended; a pruned one's value is its last report."""
        if self._study.files is not None:
            forget_state(self._study.files(int(row.key)))
        complete = row.state == "COMPLETE"
        value = float(row.facts["metrics"][self._study.search.objective]) if complete else None
        return self._optuna.tell(trial, value, state=TrialState[row.state])

    def _watch(self, number: int, row: Row, result: TrialResult | None) -> None:
        """Whether the ensemble still improves, and whether all trials fail alike."""
        if row.state != "FAIL":
            self._failures = None
            if self._study.watch is not None:
                complete = row.state == "COMPLETE" and result is not None
                self._study.watch.add(number, result.valid_proba if complete and result else None)
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
        return _Running(optuna.Trial(self._optuna, stored._trial_id), candidate, known)

    def _frozen(self) -> list[FrozenTrial]:
        return self._optuna.get_trials(deepcopy=False)


def _hopeless(row: Row | None) -> dict[str, bool]:
    """Whether a trial failed for what was proposed, and in which way."""
    if row is None or row.state != "FAIL":
        return {}
    return {
        "too_slow": row.reason.startswith(TOO_SLOW),
        "diverged": row.facts.get("failure") == DIVERGED_KIND,
    }


def _open(study: Study, ledger: Ledger) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name=study.name,
        storage=ledger.optuna,
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(seed=study.search.seed),  # never asked
        load_if_exists=True,
    )


def _opening(study: Study, kept: optuna.Study) -> Opening:
    """How the study opens: worked out when it is new, then read from what it keeps."""
    if study.search.sampler == "grid":
        return grid_opening(study.space, seed=study.search.seed)
    if OPENING in kept.user_attrs:
        return Opening.from_json(kept.user_attrs[OPENING])
    warm = study.warm()
    opening = make_opening(
        study.space, study.search, n_trials=study.budget.trials, warm=warm.points
    ).saying(warm.left_out)
    kept.set_user_attr(OPENING, opening.to_json())
    return opening


def _from(params: Mapping[str, Any]) -> Callable[..., Any]:
    return lambda name, _: params[name]
