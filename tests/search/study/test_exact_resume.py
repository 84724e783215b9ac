"""Exact resume: with the same seed, an interrupted study has the same trials as one that is not."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from chorale.cluster.base import Decision, End, Outcome
from chorale.search.config.schema import BudgetConfig, SearchConfig
from chorale.search.config.space import SearchSpace, make_space
from chorale.search.console.events import StudyListeners
from chorale.search.ledger.ledger import Ledger, Row
from chorale.search.ledger.stages import SEARCH
from chorale.search.study.budget import BudgetMeter
from chorale.search.study.study import SearchStage, StudyTrials
from chorale.search.training.trial_plan import TrialResult

SILENT = StudyListeners(())
MAX_EPOCHS = 6


def _space(sampler: str) -> SearchSpace:
    if sampler == "grid":
        narrowing: dict[str, dict[str, Any]] = {
            "softmax_regression": {"dropout": {"choice": [0.0, 0.3]}},
            "train": {"batch_size": {"choice": [16, 64]}},
        }
        fixed = _all_fixed() | {"optimizer": "adam"}
        fixed.pop("batch_size")
        space, problems = make_space(["softmax_regression"], ["stats57"], narrowing, fixed=fixed)
    else:
        # the time of Gaussian processes grows with the number of parameters
        searched = {"optimizer", "lr", "sgd_lr", "momentum"}
        fixed = {name: value for name, value in _all_fixed().items() if name not in searched}
        fixed = fixed if sampler == "gp" else {}
        space, problems = make_space(["softmax_regression", "mlp"], ["stats57"], {}, fixed=fixed)
    assert space is not None, problems
    return space


def _all_fixed() -> dict[str, Any]:
    from chorale.lightning_models.train_config import TRAIN_SPACE, TrainConfig

    return {name: getattr(TrainConfig(), name) for name in TRAIN_SPACE}


def _study(search: SearchConfig, n: int) -> SearchStage:
    return SearchStage(
        name="s",
        space=_space(search.sampler),
        search=search,
        meter=BudgetMeter(BudgetConfig(trials=n, max_epochs=MAX_EPOCHS)),
        plan=lambda candidate, number: candidate,  # type: ignore[arg-type, return-value]
        keep=lambda number, result: None,
    )


def _value(candidate: Any, epoch: int) -> float:
    """The objective of a simulated training of this candidate, a deterministic function."""
    base = zlib.crc32(repr(candidate).encode()) % 1000 / 1000
    return base * epoch / MAX_EPOCHS


def _one(trials: StudyTrials, *, until: int = MAX_EPOCHS) -> None:
    """Runs one trial; one that is interrupted after `until` epochs has no outcome."""
    [spec] = trials.ask(1)
    candidate = spec.payload["plan"]
    for epoch in range(1, until + 1):
        value = _value(candidate, epoch)
        decision = trials.report(spec.trial_id, epoch, {"accuracy": value})
        if decision is Decision.STOP:
            break
    else:
        if until < MAX_EPOCHS:
            return
    result = TrialResult(
        metrics={"accuracy": value, "latency_ms": 1 + 10 * value},
        epoch=epoch,
        n_parameters=zlib.crc32(repr(candidate.config).encode()) % 10_000,
        train_s=0.0,
        valid_s=0.0,
        wall_s=0.0,
        valid_proba=np.full((2, 2), 0.5, np.float32),
    )
    end = End.STOPPED if decision is Decision.STOP else End.FINISHED
    trials.tell(spec.trial_id, Outcome(end, result))


def _comparable(rows: dict[str, Row]) -> dict[str, Any]:
    return {
        key: (row.state, row.facts["params"], row.facts["metrics"], row.facts["origin"])
        for key, row in rows.items()
    }


def _run_at_once(folder: Path, search: SearchConfig, n: int) -> dict[str, Any]:
    ledger = Ledger(f"sqlite:///{folder / 'at_once.db'}")
    trials = StudyTrials(_study(search, n), ledger, SILENT)
    while not trials.done():
        _one(trials)
    return _comparable(ledger.rows("s", SEARCH))


def _in_pieces(folder: Path, search: SearchConfig, n: int) -> dict[str, Any]:
    """Runs every trial in a session of its own, which is interrupted during the next trial."""
    ledger = Ledger(f"sqlite:///{folder / 'pieces.db'}")
    done, n_sessions = False, 0
    while not done:
        trials = StudyTrials(_study(search, n), ledger, SILENT)
        _one(trials)
        if not trials.done():
            _one(trials, until=1)
        done = trials.done() and not trials.running
        ledger.flush()
        n_sessions += 1
        if n_sessions % 7 == 0:  # the process's memory is lost
            ledger.close()
            ledger = Ledger(f"sqlite:///{folder / 'pieces.db'}")
    kept = optuna.load_study(study_name="s", storage=ledger.optuna).trials
    assert all(trial.state.is_finished() for trial in kept), "no trial stays RUNNING"
    assert len(kept) == len(ledger.rows("s", SEARCH))
    return _comparable(ledger.rows("s", SEARCH))


@pytest.mark.parametrize(
    ("sampler", "second"),
    [
        ("tpe", "none"),
        ("random", "none"),
        ("qmc", "none"),
        ("grid", "none"),
        ("gp", "none"),
        ("nsga2", "none"),
        ("tpe", "n_parameters"),
        ("nsga2", "latency_ms"),
        ("gp", "n_parameters"),
    ],
)
def test_an_interrupted_study_has_the_same_trials(
    tmp_path: Path, sampler: Any, second: Any
) -> None:
    search = SearchConfig(sampler=sampler, second=second, seed=3)
    n = 13 if sampler == "gp" else 14  # at least three trials of the sampler
    at_once = _run_at_once(tmp_path, search, n)
    assert len(at_once) == (8 if sampler == "grid" else n)
    assert _in_pieces(tmp_path, search, n) == at_once
    origins = [origin for *_, origin in at_once.values()]
    assert origins.count(sampler) >= 3


@pytest.mark.parametrize("pruner", ["hyperband", "median"])
def test_every_pruner_decides_the_same_after_an_interruption(tmp_path: Path, pruner: Any) -> None:
    search = SearchConfig(sampler="random", pruner=pruner, seed=1)
    at_once = _run_at_once(tmp_path, search, 14)
    assert {state for state, *_ in at_once.values()} == {"COMPLETE", "PRUNED"}
    assert _in_pieces(tmp_path, search, 14) == at_once


def test_another_seed_gives_other_trials(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = _run_at_once(tmp_path / "a", SearchConfig(seed=0), 10)
    other = _run_at_once(tmp_path / "b", SearchConfig(seed=1), 10)
    assert one["0"] == other["0"], "known-good points do not depend on the seed"
    assert one["9"] != other["9"]
