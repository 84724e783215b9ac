from types import SimpleNamespace
from typing import Any, cast

import pytest

from chorale.datasets.splitting import split
from chorale.search.config.limit_config import LimitConfig
from chorale.search.ledger.stages import Job
from chorale.search.paths import Runs
from chorale.search.training import plan


@pytest.fixture
def planned(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Arguments for plans of which only seed and folder are tested."""
    paths = Runs(tmp_path).study("seeds")
    sweep = SimpleNamespace(search=SimpleNamespace(seed=0), paths=paths, limit=LimitConfig())
    resolved = cast("Any", SimpleNamespace(sweep=sweep))
    prepared = cast("Any", SimpleNamespace(split=SimpleNamespace(test_ids=(), n_folds=5)))
    monkeypatch.setattr(plan, "_plan", lambda *_, **kwargs: SimpleNamespace(**kwargs))
    return resolved, prepared


@pytest.mark.parametrize("number", [0, 1, 7])
def test_a_finalists_seeds_differ_from_each_other_and_from_its_trials(
    planned: Any, number: int
) -> None:
    resolved, prepared = planned
    trial: Any = plan.plan_trial(resolved, prepared, cast("Any", None), number)
    jobs = [Job(number, fold, seed) for fold in range(5) for seed in range(2)]
    finals: list[Any] = [
        plan.plan_finalist(resolved, prepared, cast("Any", None), job) for job in jobs
    ]
    assert trial.fold == jobs[0].fold == split.SEARCH_FOLD
    assert len({trial.seed, *(one.seed for one in finals)}) == 1 + len(jobs)
