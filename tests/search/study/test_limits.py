"""Hard limits in the search: what exceeds them is refused, and the sampler keeps to them."""

import math
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from chorale.cluster.base import Report, TrialSpec
from chorale.cluster.local import LocalRunner
from chorale.search.config.schema import BudgetConfig, SearchConfig
from chorale.search.config.space import make_space
from chorale.search.console.events import StudyListeners
from chorale.search.ledger.ledger import Ledger
from chorale.search.ledger.stages import SEARCH
from chorale.search.study.budget import BudgetMeter
from chorale.search.study.initial_points import make_initial_points
from chorale.search.study.proposals import Measured, Proposals
from chorale.search.study.samplers.genetic import best_parents
from chorale.search.study.study import SearchStage, StudyTrials
from chorale.search.training.model_cost import HEADROOM, ModelLimit, NetworkCost, Refusal
from chorale.search.training.trial_plan import TrialResult

LIMIT = ModelLimit(size_mb=1.0 / HEADROOM, n_networks=2)
SILENT = StudyListeners(())


def _cost(network_mb: float) -> NetworkCost:
    return NetworkCost("mel", 5.0, 1.0, 0.0, network_mb)


def _result(cost: NetworkCost) -> TrialResult:
    return TrialResult(
        metrics={"accuracy": 0.5, "macro_f1": 0.5, "log_loss": 1.0},
        epoch=1,
        n_parameters=10,
        train_s=0.1,
        valid_s=0.05,
        wall_s=0.2,
        valid_proba=np.full((2, 2), 0.5, np.float32),
        cost=cost,
    )


def _study() -> SearchStage:
    space, problems = make_space(["cnn", "recurrent"], ["mel"], {}, fixed={})
    assert space is not None, problems
    return SearchStage(
        name="s",
        space=space,
        search=SearchConfig(sampler="random", pruner="none"),
        meter=BudgetMeter(BudgetConfig(trials=7, max_epochs=8)),
        plan=lambda candidate, number: None,  # type: ignore[arg-type, return-value]
        keep=lambda number, result: None,
        limit=LIMIT,
    )


def _work(spec: TrialSpec, report: Report) -> TrialResult | Refusal:
    cost = _cost(0.7 if spec.trial_id in (2, 5) else 0.5)
    return LIMIT.refusal(cost) or _result(cost)


def test_a_refused_network_fails_with_its_cost_and_is_a_constraint(tmp_path: Path) -> None:
    with Ledger(f"sqlite:///{tmp_path / 'chorale.db'}") as ledger:
        trials = StudyTrials(_study(), ledger, SILENT)
        LocalRunner().run(trials, _work)
        rows = ledger.rows("s", SEARCH)
        states = [rows[str(n)].state for n in range(len(rows))]
        refused = [n in (2, 5) for n in range(9)]  # the budget's 7 trials, and two
        assert states == ["FAIL" if one else "COMPLETE" for one in refused]
        assert rows["5"].facts["failure"] == "over the limit"
        assert "2 networks on mel would take 1.4 MB where" in rows["5"].reason
        assert NetworkCost.of_facts(rows["5"].facts) == _cost(0.7)
        assert NetworkCost.of_facts(rows["0"].facts) == _cost(0.5)  # 2 x 0.5 MB is just allowed
        known = trials._proposals._study.trials
        assert [one.constraints["size_mb"] > 1e-9 for one in known] == refused
        assert known[5].constraints["size_mb"] == pytest.approx(math.log(1.4))
        resumed = StudyTrials(_study(), ledger, SILENT)
        assert resumed.ended_by() == "budget.trials"
        again = resumed._proposals._study.trials
        assert [one.constraints for one in again] == [one.constraints for one in known]
        assert [one.values for one in again] == [one.values for one in known]


def test_a_search_ends_where_nothing_keeps_to_the_limit(tmp_path: Path) -> None:
    with Ledger(f"sqlite:///{tmp_path / 'chorale.db'}") as ledger:
        trials = StudyTrials(_study(), ledger, SILENT)
        refusal = LIMIT.refusal(_cost(9.0))
        LocalRunner().run(
            trials, lambda spec, report: _result(_cost(0.1)) if not spec.trial_id else refusal
        )
        assert trials.ended_by() == "the limit, which 50 networks in a row exceed"
        assert len(ledger.rows("s", SEARCH)) == 51
        assert StudyTrials(_study(), ledger, SILENT).ended_by() == trials.ended_by()


def _n_within(seed: int, *, informed: bool) -> int:
    """How many of the last 36 of 60 proposals keep to a limit that the best scores exceed."""
    space, problems = make_space(["mlp"], ["stats57"], {}, fixed={"optimizer": "adamw"})
    assert space is not None, problems
    search = SearchConfig(sampler="tpe", seed=seed)
    proposals = Proposals(space, search, make_initial_points(space, search, n_trials=60))
    within = []
    for number in range(60):
        params, distributions = proposals.propose()
        excess = math.log(params["mlp.width"] / 64)
        within.append(excess <= 0)
        score = 0.5 + 0.05 * min(excess, 0) - 0.02 * abs(math.log(params["train.lr"] / 1e-3))
        trial = create_trial(
            state=TrialState.FAIL if excess > 0 else TrialState.COMPLETE,
            params=params,
            distributions=distributions,
            value=None if excess > 0 else score,
        )
        trial.number = number
        excesses = {"size_mb": excess} if informed else {}
        proposals.end(trial, Measured(is_worst=informed and excess > 0, excesses=excesses))
    return sum(within[24:])


def test_tpe_that_knows_the_excess_keeps_to_the_limit() -> None:
    seeds = range(3)
    informed = sum(_n_within(seed, informed=True) for seed in seeds)
    uninformed = sum(_n_within(seed, informed=False) for seed in seeds)
    assert informed > uninformed


def test_parents_keep_to_the_limit_where_any_trial_does() -> None:
    study = optuna.create_study(direction="maximize")
    excesses = [0.5, 0.2, -0.1, 0.0]
    for value, excess in enumerate(excesses):
        study.add_trial(create_trial(value=float(value == 0), constraints={"size_mb": excess}))
    assert [trial.number for trial in best_parents(study)] == [2, 3]
    refused = optuna.create_study(direction="maximize")
    refused.add_trials(study.trials[:2])
    assert [trial.number for trial in best_parents(refused)] == [1, 0]
