"""Lost attempts at training runs: those that ended with a worker or the driver, without a result.

The run is retried and has one row, but the time of lost attempts is spent. They are rows of a stage
of their own, so that budgets and reports count them, also after a resume.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.search.ledger.reader import Row
from chorale.search.ledger.stages import ATTEMPTS

if TYPE_CHECKING:
    from chorale.search.ledger.ledger import Ledger

INTERRUPTED = "interrupted"
"""The kind of failure of an attempt that ended with the sweep."""


def record_lost(
    ledger: "Ledger",
    study: str,
    stage: str,
    key: str,
    *,
    elapsed_s: float,
    reason: str,
    failure: str,
) -> None:
    """Records a lost attempt at run `key` of `stage`: its duration in seconds, and the reason.

    `failure` is its kind (`trial_outcome.failure_kind`).

    Raises:
        LedgerError: it cannot be written, or another process has taken the study over.
    """
    run = f"{stage}/{key}/"
    n = sum(known.startswith(run) for known in ledger.rows(study, ATTEMPTS))
    row = Row(f"{run}{n}", "LOST", reason, {"elapsed_s": elapsed_s, "failure": failure})
    ledger.record(study, ATTEMPTS, row)


def record_interrupted(ledger: "Ledger", study: str, stage: str, began: Mapping[str, Path]) -> None:
    """Records the attempts that were running when the previous session was interrupted.

    Such an attempt lasted from when it wrote its first file to the session's last heartbeat; a file
    older than the session is of an earlier attempt.

    Args:
        ledger: with the study reopened.
        study: its name.
        stage: of the runs.
        began: key -> the file that each attempt at an unfinished run writes first.

    Raises:
        LedgerError: as `record_lost`.
    """
    if ledger.previous_session is None:
        return
    session_began_s, ended_s = ledger.previous_session
    for key, file in began.items():
        began_s = file.stat().st_mtime if file.is_file() else 0.0
        if session_began_s <= began_s < ended_s:
            elapsed_s, reason = ended_s - began_s, "the sweep was interrupted"
            record_lost(
                ledger, study, stage, key, elapsed_s=elapsed_s, reason=reason, failure=INTERRUPTED
            )


def lost_s(ledger: "Ledger", study: str, stage: str) -> float:
    """The total duration of the lost attempts of a stage, in seconds."""
    rows = ledger.rows(study, ATTEMPTS).values()
    return sum(float(r.facts["elapsed_s"]) for r in rows if r.key.startswith(f"{stage}/"))
