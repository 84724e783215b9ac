"""How a training run of the search ended: its state, the reason, and the row of the ledger."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from cluster.base import End, Failure, Outcome
from datasets.atomic import write_text
from search.space import Candidate
from search.store import Row

DIVERGED = "Diverged: "
"""How the reason begins where `lightning_models.module.Diverged` ended a training."""


def verdict(outcome: Outcome, *, objective: str, late: bool) -> tuple[TrialState, str]:
    """The state of a trial that ended so, and why it is no COMPLETE one.

    `late` says that time was up: a trial that was told to stop was not pruned for its value then.
    """
    if outcome.end is End.FAILED:
        return TrialState.FAIL, outcome.reason
    value = float(outcome.value.metrics[objective])
    if not math.isfinite(value):
        return TrialState.FAIL, f"{objective} is {value}"
    if outcome.end is End.STOPPED:
        return TrialState.PRUNED, "out of time" if late else "pruned"
    return TrialState.COMPLETE, ""


def failure_of(outcome: Outcome) -> str:
    """The kind of a failure, in one or two words; what is not finite has diverged, too."""
    if outcome.failure is None or outcome.reason.startswith(DIVERGED):
        return "diverged"
    return "bug" if outcome.failure is Failure.RAISED else outcome.failure.value


def keep_traceback(path: Path, outcome: Outcome) -> dict[str, Any]:
    """Writes what a failed run's worker said into `path`; gives where that is, for the ledger."""
    if not outcome.traceback:
        return {}
    write_text(path, outcome.traceback)
    return {"log": str(path)}


def facts_of(candidate: Candidate, params: Mapping[str, Any]) -> dict[str, Any]:
    """What the ledger keeps of what was tried, JSON-ready."""
    return {
        "architecture": candidate.architecture,
        "features": candidate.features,
        "config": dict(candidate.config),
        "train": dict(candidate.train),
        "params": dict(params),
    }


def row_of(
    number: int, state: TrialState, reason: str, facts: Mapping[str, Any], outcome: Outcome
) -> Row:
    """The ledger's row: `facts`, and what the outcome adds to them."""
    known = dict(facts)
    if outcome.traceback:
        known["traceback"] = outcome.traceback
    if state == TrialState.FAIL:
        known["failure"] = failure_of(outcome)
    if outcome.value is not None and state != TrialState.FAIL:
        known |= outcome.value.facts()
    return Row(str(number), state.name, reason, known)
