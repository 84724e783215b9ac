"""What the search stage of a sweep is told: its meter, its watch, and what earlier studies teach.

Joins what `search.sweep.sitting` holds to what `search.study.study` asks for.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import optuna

from chorale.datasets.splitting.split import SEARCH_FOLD
from chorale.search.config import grid
from chorale.search.config.resolve import Resolved
from chorale.search.data.prepare import Prepared, fingerprint
from chorale.search.evaluation.members import Member
from chorale.search.ledger import predictions
from chorale.search.ledger.ledger import Ledger
from chorale.search.ledger.stages import SEARCH
from chorale.search.study import warm_start
from chorale.search.study.budget import Meter
from chorale.search.study.early_stopping import EnsembleWatch
from chorale.search.study.pruner import rung
from chorale.search.study.warm_start import Earlier, WarmStart
from chorale.search.sweep.preflight import wanted
from chorale.search.sweep.workers import Workers


def make_meter(
    resolved: Resolved,
    prepared: Prepared,
    crew: Workers,
    *,
    wall_s: Callable[[], float],
    n_more_finalists: int = 0,
) -> Meter:
    """The meter of the sweep's budget, the finalists' share set aside."""
    sweep, finals = resolved.sweep, resolved.sweep.finalists
    meter = Meter(
        sweep.budget,
        resources=crew.resources,
        n_at_once=crew.trials_at_once,
        n_finals=(finals.configs + n_more_finalists) * prepared.split.n_folds * finals.seeds,
        wall_s=wall_s,
    )
    if sweep.search.sampler == "grid":
        n_points = len(grid.points(resolved.space, seed=sweep.search.seed))
        meter.n_trials = min(meter.n_trials, n_points)
    return meter


def make_watch(
    resolved: Resolved, prepared: Prepared, ledger: Ledger, tell: Callable[[str], None]
) -> EnsembleWatch | None:
    """The watch over the ensemble, earlier sittings counted in; None where it is not wanted.

    What it cannot count is told.
    """
    sweep, split = resolved.sweep, prepared.split
    if sweep.budget.patience is None:
        return None
    ids = split.valid_ids(SEARCH_FOLD)
    watch = EnsembleWatch(prepared.labels[prepared.rows(ids)], patience=sweep.budget.patience)

    def read(number: int) -> np.ndarray:
        parts = predictions.read(
            sweep.paths.trial(number).predictions, {"valid": ids}, split=split.hash
        )
        return parts["valid"].proba

    for line in watch.restore(ledger.rows(sweep.name, SEARCH).values(), read):
        tell(line)
    return watch


def make_warm(resolved: Resolved, prepared: Prepared, ledger: Ledger) -> WarmStart:
    """What the earlier studies that the sweep names teach it.

    Raises:
        UserError: it names a study that the ledger does not know.
    """
    sweep = resolved.sweep
    names = wanted(sweep.search.warm_start, ledger.studies(), name=sweep.name)
    earlier = [earlier_study(ledger, name, sweep.search.objective) for name in names]
    return warm_start.warm_start(
        resolved.space,
        fingerprint(resolved, prepared),
        earlier,
        objective=sweep.search.objective,
    )


def earlier_study(ledger: Ledger, name: str, objective: str) -> Earlier:
    """What the ledger knows of a study that another may learn from."""
    told = ledger.fingerprint(name)
    at = rung(int(told.get("number of epochs", 1)))
    same_objective = told.get("search", {}).get("objective") == objective
    try:
        study = optuna.load_study(study_name=name, storage=ledger.optuna)
        trials = study.get_trials(deepcopy=False)
    except KeyError:  # it never came to its first trial
        trials = []
    values = {
        trial.number: trial.intermediate_values[at]
        for trial in trials
        if same_objective and at in trial.intermediate_values
    }
    return Earlier(name, told, ledger.rows(name, SEARCH), values)


@dataclass(frozen=True)
class Lessons:
    """What earlier studies give to a sweep.

    `points` are tried first; `allies` are further members for its ensembles, whose files lie in the
    study's own folders by then, and lines that say which. The trial that repeats `sentinel`,
    "study/number", becomes a finalist whatever it reached.
    """

    points: Callable[[Resolved, Prepared, Ledger], WarmStart] = make_warm
    allies: Callable[[Resolved, Prepared, Ledger], tuple[list[Member], list[str]]] | None = None
    sentinel: str | None = None
