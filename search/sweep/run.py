"""One whole sweep, from a folder of audio to a report, stage after stage.

Each stage leaves what it made on disk or in the ledger, so an interrupted sweep goes on where it
stopped. What a person has mistyped is said before anything heavy is imported or started.
"""

import contextlib
import time
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from chorale.search.config.resolve import Resolved
from chorale.search.console.progress import Progress
from chorale.search.data.tracks import divisible_tracks, refuse_missing
from chorale.search.sweep.bucket import carried
from chorale.search.sweep.preflight import Begin, begin

if TYPE_CHECKING:
    import pandas as pd

    from chorale.search.sweep.stage import Lessons


def run_sweep(
    resolved: Resolved,
    *,
    resume: bool | None,
    console: Console,
    take_over: bool = False,
    lessons: "Lessons | None" = None,
) -> dict[str, Any]:
    """Runs a sweep to its end, or goes on with one; gives the report that it wrote.

    Args:
        resolved: what to do.
        resume: go on with the study of that name instead of starting it; None: if there is one.
        take_over: resume it even if another process seems to run it.
        console: where progress is told.
        lessons: what earlier studies give to it; by default what `search.study.warm_start` says.

    Raises:
        UserError, ClusterError: what the user can mend.
        KeyboardInterrupt: interrupted; the study can be resumed.
    """
    began = time.perf_counter()  # what comes before the search costs time, too
    sweep, progress = resolved.sweep, Progress(console)
    refuse_missing(resolved)
    told = carried(sweep.runs, sweep.name, tell=lambda said: progress.stage("bucket", escape(said)))
    with progress.never_silent("sweep"), told:
        how = begin(sweep, resume=resume, take_over=take_over)
        tracks = divisible_tracks(resolved, progress)
        return _run(resolved, progress, lessons, how, tracks, take_over=take_over, began=began)


def _run(
    resolved: Resolved,
    progress: Progress,
    lessons: "Lessons | None",
    how: Begin,
    tracks: "pd.DataFrame",
    *,
    take_over: bool,
    began: float,
) -> dict[str, Any]:
    # Imported here, as they bring all that studies and reports are made with.
    from chorale.search.data.prepare import fingerprint, prepare
    from chorale.search.ledger.ledger import Ledger, LedgerError
    from chorale.search.report import report
    from chorale.search.sweep.sitting import Sitting
    from chorale.search.sweep.stage import Lessons
    from chorale.search.sweep.workers import workers

    sweep, given = resolved.sweep, lessons or Lessons()
    ledger = Ledger(sweep.ledger_url)
    try:
        with contextlib.ExitStack() as stack:
            with progress.doing("workers start"):
                crew = stack.enter_context(workers(sweep.cluster, runs=sweep.runs_folder.root))
            with crew.mapping() as run:
                prepared = prepare(resolved, progress, run, tracks)
            unchanging = fingerprint(resolved, prepared)
            about: dict[str, Any] = {"about": sweep.about}
            about["before_s"] = time.perf_counter() - began
            if how.resume:
                ledger.reopen(sweep.name, unchanging, take_over=take_over, **about)
            else:
                ledger.create(sweep.name, unchanging, **about)
            sitting = Sitting(
                resolved, prepared, ledger, crew, progress, how.was_complete, given, began
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
