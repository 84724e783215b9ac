"""The outcome of a trial: its Optuna state, the reason, and its row in the ledger."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from chorale.cluster.base import End, Failure, Outcome
from chorale.datasets.atomic import write_text
from chorale.datasets.disk import NoRoomError, skip_if_unwritable
from chorale.datasets.errors import UserError
from chorale.search.config.space import Candidate
from chorale.search.ledger.ledger import Row
from chorale.search.training.model_cost import Refusal

DIVERGED_PREFIX = "Diverged: "
"""How the reason begins where `lightning_models.training.module.Diverged` ended the training."""

DIVERGED = "diverged"
"""The `failure_kind` of such a failure."""

OVER_LIMIT = "over the limit"
"""The `failure_kind` of a network that was refused, as its model would cost too much."""

OUT_OF_TIME = "out of time"
"""The reason of a run that was stopped because the time was up, not for its value."""

DISK_FULL_PREFIX = f"{NoRoomError.__name__}: "
"""How the reason begins where a full disk ended the run."""


def stop_if_disk_full(name: str, outcome: Outcome) -> None:
    """Ends the sweep where the disk is full, which is not a failure of the trial.

    The run counts as not ended, and is run again when the sweep is resumed.

    Raises:
        UserError: the disk is full; the error says what to do.
    """
    if outcome.reason.startswith(DISK_FULL_PREFIX):
        raise UserError(
            f"{name} {outcome.reason.removeprefix(DISK_FULL_PREFIX)}; finished runs are kept, and "
            f"it will be run again: free some space, then continue with: chorale resume STUDY"
        )


def final_state(outcome: Outcome, *, objective: str, late: bool) -> tuple[TrialState, str]:
    """The state of a trial with this outcome, and the reason if it is not COMPLETE.

    `late`: the time was up, so a stopped trial was not pruned for its value.
    """
    if outcome.end is End.FAILED:
        return TrialState.FAIL, outcome.reason
    if isinstance(outcome.value, Refusal):
        return TrialState.FAIL, outcome.value.reason
    value = float(outcome.value.metrics[objective])
    if not math.isfinite(value):
        return TrialState.FAIL, f"{objective} is {value}"
    if outcome.end is End.STOPPED:
        return TrialState.PRUNED, OUT_OF_TIME if late else "pruned"
    return TrialState.COMPLETE, ""


def failure_kind(outcome: Outcome) -> str:
    """The kind of a failure, in one or two words; a non-finite objective is "diverged", too."""
    if isinstance(outcome.value, Refusal):
        return OVER_LIMIT
    if outcome.failure is None or outcome.reason.startswith(DIVERGED_PREFIX):
        return DIVERGED
    return "bug" if outcome.failure is Failure.RAISED else outcome.failure.value


def write_traceback(path: Path, outcome: Outcome) -> dict[str, Any]:
    """Writes a failed run's traceback to `path`; returns the ledger's fact about where it is."""
    if not outcome.traceback:
        return {}
    left_out: list[str] = []  # the ledger has the traceback, too
    with skip_if_unwritable(path.name, left_out):
        write_text(path, outcome.traceback)
    return {} if left_out else {"log": str(path)}


def candidate_facts(candidate: Candidate, params: Mapping[str, Any]) -> dict[str, Any]:
    """The ledger's facts about a candidate, JSON-ready."""
    return {
        "architecture": candidate.architecture,
        "features": candidate.features,
        "config": dict(candidate.config),
        "train": dict(candidate.train),
        "params": dict(params),
    }


def ledger_row(
    number: int, state: TrialState, reason: str, facts: Mapping[str, Any], outcome: Outcome
) -> Row:
    """The ledger's row of a trial: `facts`, and those of the outcome."""
    known = dict(facts)
    if outcome.traceback:
        known["traceback"] = outcome.traceback
    if state == TrialState.FAIL:
        known["failure"] = failure_kind(outcome)
    if isinstance(outcome.value, Refusal) or state != TrialState.FAIL:
        known |= outcome.value.facts()
    return Row(str(number), state.name, reason, known)
