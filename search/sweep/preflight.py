"""What is refused before anything heavy is imported, any track is read and any worker is started.

A person who mistyped a study's name waits for none of that.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chorale.datasets.errors import UserError, unknown
from chorale.search.config.schema import SweepConfig

if TYPE_CHECKING:
    from chorale.search.ledger.reader import LedgerReader


@dataclass(frozen=True)
class Begin:
    """How a sweep begins: a new study, or one that goes on and may have come to its end before."""

    resume: bool
    was_complete: bool


def begin(sweep: SweepConfig, *, resume: bool | None, take_over: bool) -> Begin:
    """Looks at what the ledger knows of the study, without opening it for writing.

    Args:
        sweep: whose study it is.
        resume: go on with the study of that name instead of starting it; None: if there is one.
        take_over: resume it even if another process seems to run it.

    Raises:
        UserError: the ledger cannot be used, another process holds the study, it exists where it
            should not or the other way round, or a study to learn from is unknown.
    """
    reader = _reader(sweep)
    try:
        if reader is not None and not take_over:  # first, as it names who runs it
            reader.refuse_held(sweep.name)
        state = None if reader is None else reader.state(sweep.name)
        known = [] if reader is None else reader.studies()
    finally:
        if reader is not None:
            reader.close()
    resumed = state is not None if resume is None else resume
    _refuse(sweep.name, state, known, resume=resumed)
    if not resumed:
        wanted(sweep.search.warm_start, known, name=sweep.name)
    return Begin(resumed, state == "complete")


def wanted(told: str | Sequence[str], known: Iterable[str], *, name: str) -> list[str]:
    """The studies that `search.warm_start` means, of those that the ledger knows.

    Raises:
        UserError: it names one that the ledger does not know, or this study itself.
    """
    others = sorted(set(known) - {name})
    if told == "none":
        return []
    if told == "auto":
        return others
    for one in told:
        if one not in others:
            what = "this study itself" if one == name else unknown("study", one, others)
            raise UserError(f"search.warm_start: {what}; name studies of the same store, or auto")
    return list(told)


def _reader(sweep: SweepConfig) -> "LedgerReader | None":
    """The ledger, if there is one already."""
    if sweep.store is None and not sweep.runs_folder.ledger.exists():
        _refuse_unwritable(sweep)
        return None
    from chorale.search.ledger.reader import LedgerReader, NoLedgerError

    try:
        return LedgerReader(sweep.ledger_url)
    except NoLedgerError:
        return None


def _refuse_unwritable(sweep: SweepConfig) -> None:
    """Refuses a folder of studies that is not there and cannot be made."""
    root = sweep.runs_folder.root
    there = next(one for one in (root, *root.absolute().parents) if one.exists())
    if not there.is_dir():
        from chorale.search.ledger.ledger import Ledger

        Ledger(sweep.ledger_url).close()  # says what is wrong
    elif not os.access(there, os.W_OK | os.X_OK):
        raise UserError(
            f"'{root}', where studies are kept, cannot be made or written: this user may not write "
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
