"""Attempts of a training run that came to no result: lost with a worker, or with the driver.

The run is tried again and leaves one row, but what such attempts took was spent all the same. They
are rows of a stage of their own, so that budgets and reports count them, over every resume.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.search.ledger.reader import Row
from chorale.search.ledger.stages import ATTEMPTS

if TYPE_CHECKING:
    from chorale.search.ledger.ledger import Ledger


def book(
    ledger: "Ledger", study: str, stage: str, key: str, *, elapsed_s: float, reason: str
) -> None:
    """Keeps what an attempt at run `key` of `stage` took, in seconds, and why it came to nothing.

    Raises:
        LedgerError: it cannot be written, or another process has taken the study over.
    """
    run = f"{stage}/{key}/"
    n = sum(known.startswith(run) for known in ledger.rows(study, ATTEMPTS))
    row = Row(f"{run}{n}", "LOST", reason, {"elapsed_s": elapsed_s})
    ledger.record(study, ATTEMPTS, row)


def book_interrupted(ledger: "Ledger", study: str, stage: str, began: Mapping[str, Path]) -> None:
    """Keeps what was under way when the sitting before this one ended, and in what way it did.

    Such an attempt lasted from when it wrote the first of its files to the sitting's last sign of
    life; one that wrote it before that sitting began was not under way in it.

    Args:
        ledger: which has reopened the study.
        study: its name.
        stage: of the runs.
        began: key -> the file that each attempt at an unfinished run writes first.

    Raises:
        LedgerError: as `book`.
    """
    if ledger.sitting_before is None:
        return
    sat_down_s, ended_s = ledger.sitting_before
    for key, file in began.items():
        began_s = file.stat().st_mtime if file.is_file() else 0.0
        if sat_down_s <= began_s < ended_s:
            elapsed_s, reason = ended_s - began_s, "the sweep was interrupted"
            book(ledger, study, stage, key, elapsed_s=elapsed_s, reason=reason)


def lost_s(ledger: "Ledger", study: str, stage: str) -> float:
    """What all such attempts of a stage took together, in seconds."""
    rows = ledger.rows(study, ATTEMPTS).values()
    return sum(float(r.facts["elapsed_s"]) for r in rows if r.key.startswith(f"{stage}/"))
