"""What a sweep takes from earlier studies: points to try first, further members, a drift check."""

from collections.abc import Callable
from dataclasses import dataclass

import optuna

from chorale.search.config.resolve import ResolvedSweep
from chorale.search.data.prepare import PreparedData, study_fingerprint
from chorale.search.evaluation.members import Member
from chorale.search.ledger.ledger import Ledger
from chorale.search.ledger.stages import SEARCH
from chorale.search.study import warm_start
from chorale.search.study.pruner import first_rung
from chorale.search.study.warm_start import EarlierStudy, WarmStart
from chorale.search.sweep.preflight import warm_start_studies


def warm_start_points(resolved: ResolvedSweep, prepared: PreparedData, ledger: Ledger) -> WarmStart:
    """Points from the studies that `search.warm_start` of the sweep file names.

    Raises:
        UserError: it names a study that the ledger does not know.
    """
    sweep = resolved.sweep
    names = warm_start_studies(sweep.search.warm_start, ledger.studies(), name=sweep.name)
    earlier = [earlier_study(ledger, name, sweep.search.objective) for name in names]
    return warm_start.warm_start(
        resolved.space,
        study_fingerprint(resolved, prepared),
        earlier,
        objective=sweep.search.objective,
    )


def earlier_study(ledger: Ledger, name: str, objective: str) -> EarlierStudy:
    """What the ledger knows of a study that a warm start may use."""
    known = ledger.fingerprint(name)
    at = first_rung(int(known.get("number of epochs", 1)))
    same_objective = known.get("search", {}).get("objective") == objective
    try:
        study = optuna.load_study(study_name=name, storage=ledger.optuna)
        trials = study.get_trials(deepcopy=False)
    except KeyError:  # it has no trial yet
        trials = []
    values = {
        trial.number: trial.intermediate_values[at]
        for trial in trials
        if same_objective and at in trial.intermediate_values
    }
    return EarlierStudy(name, known, ledger.rows(name, SEARCH), values)


@dataclass(frozen=True)
class EarlierStudies:
    """What earlier studies contribute to a sweep.

    `points` gives the initial points. `members` gives further members for the ensembles, whose
    files lie in this study's own folders by then, and lines that name them. The trial that repeats
    `drift_check`, "study/number", becomes a finalist whatever its score.
    """

    points: Callable[[ResolvedSweep, PreparedData, Ledger], WarmStart] = warm_start_points
    members: (
        Callable[[ResolvedSweep, PreparedData, Ledger], tuple[list[Member], list[str]]] | None
    ) = None
    drift_check: str | None = None
