"""One whole sweep, from a folder of audio to a report, stage after stage.

Each stage leaves what it made on disk or in the ledger, so an interrupted sweep goes on where it
stopped.
"""

import contextlib
import time
from typing import Any

from rich.console import Console
from rich.markup import escape

from chorale.datasets.errors import UserError
from chorale.search import report, warm_start
from chorale.search.bucket import carried
from chorale.search.prepare import fingerprint, prepare
from chorale.search.progress import Progress
from chorale.search.resolve import Resolved
from chorale.search.sitting import Sitting
from chorale.search.stage import Lessons
from chorale.search.store import Ledger, LedgerError
from chorale.search.workers import workers


def run_sweep(
    resolved: Resolved,
    *,
    resume: bool | None,
    console: Console,
    take_over: bool = False,
    lessons: Lessons | None = None,
) -> dict[str, Any]:
    """Runs a sweep to its end, or goes on with one; gives the report that it wrote.

    Args:
        resolved: what to do.
        resume: go on with the study of that name instead of starting it; None: if there is one.
        take_over: resume it even if another process seems to run it.
        console: where progress is told.
        lessons: what earlier studies give to it; by default what `search.warm_start` says.

    Raises:
        UserError, ClusterError: what the user can mend.
        KeyboardInterrupt: interrupted; the study can be resumed.
    """
    began = time.perf_counter()  # what comes before the search costs time, too
    sweep, progress = resolved.sweep, Progress(console)
    told = carried(sweep.runs, sweep.name, tell=lambda said: progress.stage("bucket", escape(said)))
    with progress.never_silent(), progress.doing("sweep"), told:
        given = lessons or Lessons()
        return _run(resolved, progress, given, resume=resume, take_over=take_over, began=began)


def _run(
    resolved: Resolved,
    progress: Progress,
    lessons: Lessons,
    *,
    resume: bool | None,
    take_over: bool,
    began: float,
) -> dict[str, Any]:
    sweep = resolved.sweep
    ledger = Ledger(sweep.ledger_url)
    try:
        if not take_over:  # first, as it names who runs it
            ledger.refuse_held(sweep.name)
        if resume is None:
            resume = ledger.state(sweep.name) is not None
        was_complete = _state(ledger, sweep.name, resume=resume) == "complete"
        if not resume:  # what it names is refused before long preparations
            warm_start.wanted(sweep.search.warm_start, ledger.studies(), name=sweep.name)
        with contextlib.ExitStack() as stack:
            with progress.doing("workers start"):
                crew = stack.enter_context(workers(sweep.cluster, runs=sweep.runs_folder.root))
            with crew.mapping() as run:
                prepared = prepare(resolved, progress, run)
            unchanging = fingerprint(resolved, prepared)
            about: dict[str, Any] = {"about": sweep.about}
            about["before_s"] = time.perf_counter() - began
            if resume:
                ledger.reopen(sweep.name, unchanging, take_over=take_over, **about)
            else:
                ledger.create(sweep.name, unchanging, **about)
            sitting = Sitting(
                resolved, prepared, ledger, crew, progress, was_complete, lessons, began
            )
            try:
                sitting.run()
            except BaseException:
                # Told is what ended the sweep, and not that the ledger cannot be told of it either.
                with contextlib.suppress(LedgerError):
                    ledger.leave(sweep.name, "interrupted", spent_s=sitting.elapsed_s())
                raise
            ledger.leave(sweep.name, "complete", spent_s=sitting.elapsed_s())
            # The study is over: whatever happens to its page, nothing is looked at again for it.
            with progress.doing("report"):
                report.renew(ledger, ledger.study(sweep.name), sweep.about, sweep.paths)
            return report.read(sweep.paths)
    finally:
        ledger.close()


def _state(ledger: Ledger, name: str, *, resume: bool) -> str | None:
    """The study's state; refuses at once what would else be refused after long preparation."""
    state = ledger.state(name)
    if resume and state is None:
        known = ", ".join(ledger.studies()) or "none yet"
        raise UserError(
            f"there is no study '{name}' to resume (there are: {known}); "
            f"start it without --resume, or name another with --name"
        )
    if not resume and state is not None:
        raise UserError(
            f"study '{name}' exists already ({state}); continue it with --resume, "
            f"or start another with --name {name}-2"
        )
    return state
