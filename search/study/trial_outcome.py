"""How a training run of the search ended: its state, the reason, and the row of the ledger."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from chorale.cluster.base import End, Failure, Outcome
from chorale.datasets.atomic import write_text
from chorale.datasets.disk import NoRoomError, unless_full
from chorale.datasets.errors import UserError
from chorale.search.config.space import Candidate
from chorale.search.ledger.ledger import Row

DIVERGED = "Diverged: "
"""How the reason begins where `lightning_models.training.module.Diverged` ended a training."""

DIVERGED_KIND = "diverged"
"""What `failure_of` calls such a failure."""

TOO_SLOW = "TooSlow: "
"""How the reason begins where `search.training.latency` refused to train a network."""

NO_ROOM = f"{NoRoomError.__name__}: "
"""How the reason begins where a full disk ended a run."""


def refuse_no_room(name: str, outcome: Outcome) -> None:
    """Ends the sweep where a run met a full disk, which is no failure of what was tried.

    It stays a run that has not ended, and goes on with the sweep.

    Raises:
        UserError: it did; says what to do.
    """
    if outcome.reason.startswith(NO_ROOM):
        raise UserError(
            f"{name} {outcome.reason.removeprefix(NO_ROOM)}; what was finished is kept, and it "
            f"will be run again: make room, then go on with: chorale resume STUDY"
        )


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
        return DIVERGED_KIND
    if outcome.reason.startswith(TOO_SLOW):
        return "too slow"
    return "bug" if outcome.failure is Failure.RAISED else outcome.failure.value


def keep_traceback(path: Path, outcome: Outcome) -> dict[str, Any]:
    """Writes what a failed run's worker said into `path`; gives where that is, for the ledger."""
    if not outcome.traceback:
        return {}
    left_out: list[str] = []  # the ledger keeps the traceback, too
    with unless_full(path.name, left_out):
        write_text(path, outcome.traceback)
    return {} if left_out else {"log": str(path)}


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
