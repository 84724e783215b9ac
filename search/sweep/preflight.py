"""Preflight checks: refused before anything heavy is imported and any track is read.

A mistyped study name is reported at once.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chorale.datasets.errors import UserError, unknown_name_error
from chorale.search.config.schema import SweepConfig

if TYPE_CHECKING:
    from chorale.search.ledger.reader import LedgerReader


@dataclass(frozen=True)
class Start:
    """How a sweep starts: as a new study, or by resuming one that may be complete already."""

    resume: bool
    was_complete: bool


def check_start(sweep: SweepConfig, *, resume: bool | None, take_over: bool) -> Start:
    """Checks the study's state in the ledger, without opening it for writing.

    Args:
        sweep: the sweep.
        resume: resume the study of that name instead of starting it; None: if it exists.
        take_over: resume it even if another process seems to run it.

    Raises:
        UserError: the ledger cannot be used, another process holds the study's lease, the study
            exists where it should not or the other way round, or a warm start names an unknown one.
    """
    reader = _reader(sweep)
    try:
        if reader is not None and not take_over:  # first, as its error names the owner
            reader.refuse_leased(sweep.name)
        state = None if reader is None else reader.state(sweep.name)
        known = [] if reader is None else reader.studies()
    finally:
        if reader is not None:
            reader.close()
    resumed = state is not None if resume is None else resume
    _refuse(sweep.name, state, known, resume=resumed)
    if not resumed:
        warm_start_studies(sweep.search.warm_start, known, name=sweep.name)
    return Start(resumed, state == "complete")


def warm_start_studies(asked: str | Sequence[str], known: Iterable[str], *, name: str) -> list[str]:
    """The studies that `search.warm_start` names, of those that the ledger knows.

    Raises:
        UserError: it names one that the ledger does not know, or this study itself.
    """
    others = sorted(set(known) - {name})
    if asked == "none":
        return []
    if asked == "auto":
        return others
    for one in asked:
        if one not in others:
            what = "this study itself" if one == name else unknown_name_error("study", one, others)
            raise UserError(f"search.warm_start: {what}; name studies of the same store, or auto")
    return list(asked)


def _reader(sweep: SweepConfig) -> "LedgerReader | None":
    """A reader of the ledger; None where there is no ledger yet."""
    if sweep.store is None and not sweep.runs_folder.ledger.exists():
        _refuse_unwritable(sweep)
        return None
    from chorale.search.ledger.reader import LedgerReader, NoLedgerError

    try:
        return LedgerReader(sweep.ledger_url)
    except NoLedgerError:
        return None


def _refuse_unwritable(sweep: SweepConfig) -> None:
    """Refuses a runs folder that does not exist and cannot be created."""
    root = sweep.runs_folder.root
    there = next(one for one in (root, *root.absolute().parents) if one.exists())
    if not there.is_dir():
        from chorale.search.ledger.ledger import Ledger

        Ledger(sweep.ledger_url).close()  # raises with the reason
    elif not os.access(there, os.W_OK | os.X_OK):
        raise UserError(
            f"the runs folder '{root}' cannot be created or written: this user may not write "
            f"in '{there.absolute()}'; give a folder that can be written: --runs FOLDER"
        )


def _refuse(name: str, state: str | None, known: Sequence[str], *, resume: bool) -> None:
    if resume and state is None:
        raise UserError(
            f"there is no study '{name}' to resume (there are: {', '.join(known) or 'none yet'}); "
            f"start it without --resume, or name another with --name"
        )
    if not resume and state is not None:
        raise UserError(
            f"study '{name}' exists already ({state}); continue it with --resume, "
            f"or start another with --name {name}-2"
        )
