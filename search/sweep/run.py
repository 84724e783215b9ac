"""Runs one sweep, from a folder of audio to a report.

Reads from above to below: the sweep file is checked, the data prepared, the study opened, and then
`search.sweep.stages` runs. Mistakes in the sweep file are reported before anything heavy is
imported or started.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rich.console import Console

from chorale.datasets.label_sets import class_names_of, has_several_labels
from chorale.search.config.resolve import (
    Choices,
    ResolvedSweep,
    for_labels,
    kept_choices,
    with_choices,
)
from chorale.search.console.log_file import kept_log
from chorale.search.console.progress import Progress
from chorale.search.data.tracks import divisible_tracks, labels_per_track, refuse_missing
from chorale.search.monitoring.monitor import SweepMonitor
from chorale.search.sweep.bucket import synchronised
from chorale.search.sweep.preflight import Start, check_start
from chorale.search.sweep.tracking import about_code, tracker_of, tracking

if TYPE_CHECKING:
    from chorale.search.config.schema import SweepConfig
    from chorale.search.data.tracks import LabelledTracks
    from chorale.search.sweep.context import SweepContext
    from chorale.search.sweep.earlier_studies import EarlierStudies


def run_sweep(
    resolved: ResolvedSweep,
    *,
    resume: bool | None,
    console: Console,
    take_over: bool = False,
    finish: bool = False,
    earlier: "EarlierStudies | None" = None,
    monitor: SweepMonitor | None = None,
) -> dict[str, Any]:
    """Runs a sweep to its end, or resumes one; gives the report that it wrote.

    Args:
        resolved: the sweep.
        resume: resume the study of that name instead of starting it; None: if it exists.
        take_over: resume it even if another process seems to run it.
        finish: train nothing more, and evaluate what the study has.
        console: where progress is printed.
        earlier: what earlier studies contribute; by default what `search.warm_start` asks for.
        monitor: gets what is measured while it runs.

    Raises:
        UserError, ClusterError: what the user can fix.
        KeyboardInterrupt: interrupted; the study can be resumed.
    """
    began = time.perf_counter()  # reading the tracks counts as time of the sweep, too
    sweep, progress = resolved.sweep, Progress(console)
    monitor = monitor or SweepMonitor()
    monitor.begin(sweep.name)
    refuse_missing(resolved)
    uploads = synchronised(sweep.runs, sweep.name, warn=lambda line: progress.stage("bucket", line))
    log = kept_log(console, sweep.paths.log_txt)
    with log as begin_log, progress.keep_alive("sweep"), uploads:
        start = check_start(sweep, resume=resume, take_over=take_over)
        tracker = tracker_of(sweep)
        tracks = divisible_tracks(resolved, progress)
        resolved = for_labels(resolved, multi_label=has_several_labels(tracks.table))
        _print_labels(tracks, resolved.sweep.search.objective, progress)
        sweep = resolved.sweep
        opened = _opened(resolved, progress, start, tracks, take_over, earlier, monitor, began)
        with opened as context, tracking(sweep, tracker, progress):
            begin_log()
            # imported only now: it brings all that studies and reports need
            from chorale.search.sweep.context import session
            from chorale.search.sweep.stages import complete_report, run_stages

            with session(context):
                run_stages(replace(context, finish=finish))
            # The study is complete: if its page fails, nothing is evaluated again for it.
            return complete_report(context)


def forecast_sweep(resolved: ResolvedSweep, *, console: Console) -> None:
    """Prints what a sweep would do and take, without starting it; features stay in the cache.

    Raises:
        UserError, ClusterError: what the user can fix.
    """
    began = time.perf_counter()
    sweep, progress = resolved.sweep, Progress(console)
    refuse_missing(resolved)
    with progress.keep_alive("forecast"):
        tracks = divisible_tracks(resolved, progress)
        resolved = for_labels(resolved, multi_label=has_several_labels(tracks.table))
        _print_labels(tracks, resolved.sweep.search.objective, progress)
        from chorale.search.data.prepare import prepare
        from chorale.search.sweep.forecast import measured_forecast
        from chorale.search.sweep.worker_pool import worker_pool

        sweep.runs_folder.root.mkdir(parents=True, exist_ok=True)
        with worker_pool(sweep.cluster, runs=sweep.runs_folder.root) as pool:
            with pool.mapping() as run:
                prepared = prepare(resolved, progress, run, tracks, _left_s(sweep, began))
            resolved = with_choices(resolved, Choices(features=prepared.stores))
            measured_forecast(resolved, prepared, pool, progress, began=began)


def _print_labels(tracks: "LabelledTracks", objective: str, progress: Progress) -> None:
    """Prints the objective where tracks have several labels."""
    if has_several_labels(tracks.table):
        names, n_labels = class_names_of(tracks.table["label"]), labels_per_track(tracks.table)
        progress.stage(
            "labels",
            f"{len(names)} labels, {n_labels.mean():.1f} of each track on average (multi-label): "
            f"the objective is {objective}",
        )


def _left_s(sweep: "SweepConfig", began: float) -> Callable[[], float] | None:
    """The seconds left, for a sweep that may leave out features for which there is no time."""
    minutes = sweep.budget.minutes
    if minutes is None or sweep.features is not None or sweep.architectures is not None:
        return None
    return lambda: 60 * minutes - (time.perf_counter() - began)


@contextlib.contextmanager
def _opened(
    resolved: ResolvedSweep,
    progress: Progress,
    start: Start,
    tracks: "LabelledTracks",
    take_over: bool,
    earlier: "EarlierStudies | None",
    monitor: SweepMonitor,
    began: float,
) -> Iterator["SweepContext"]:
    """Starts the workers, prepares the data and takes the study's lease: the context of a sweep."""
    from chorale.search.data.prepare import prepare, study_fingerprint
    from chorale.search.ledger.ledger import Ledger
    from chorale.search.ledger.stages import read_stages_s
    from chorale.search.sweep.context import SweepContext
    from chorale.search.sweep.earlier_studies import EarlierStudies
    from chorale.search.sweep.forecast import is_worth_a_forecast, measured_forecast
    from chorale.search.sweep.worker_pool import worker_pool

    sweep = resolved.sweep
    with contextlib.ExitStack() as stack:
        ledger = stack.enter_context(Ledger(sweep.ledger_url, observer=monitor))
        with progress.activity("workers start"):
            pool = stack.enter_context(worker_pool(sweep.cluster, runs=sweep.runs_folder.root))
        if start.resume:
            kept = kept_choices(resolved, ledger.fingerprint(sweep.name))
            resolved = with_choices(resolved, kept)
        left_s = None if start.resume else _left_s(sweep, began)
        with pool.mapping() as run:
            prepared = prepare(resolved, progress, run, tracks, left_s)
        resolved = with_choices(resolved, Choices(features=prepared.stores))
        stages_s = read_stages_s(sweep.paths) if start.resume else {}
        data_s = time.perf_counter() - began
        stages_s["data"] = stages_s.get("data", 0.0) + data_s
        costs: Mapping[str, float] = {}
        trains_networks, trial_limit_s = True, float("inf")
        n_tracks = len(prepared.split.development_ids)
        if not start.resume and is_worth_a_forecast(sweep.budget, n_tracks):
            monitor.enter("forecast")
            forecast = measured_forecast(resolved, prepared, pool, progress, began=began)
            resolved = with_choices(resolved, forecast.choices)
            if sweep.budget.minutes is not None:  # else the order of trials does not depend on time
                costs = forecast.costs
            trains_networks, trial_limit_s = forecast.trains_networks, forecast.trial_limit_s
            stages_s["forecast"] = time.perf_counter() - began - data_s
        unchanging = study_fingerprint(resolved, prepared)
        about: dict[str, Any] = {"about": {**sweep.about, **about_code(sweep)}}
        about["before_s"] = time.perf_counter() - began
        if start.resume:
            ledger.reopen(sweep.name, unchanging, take_over=take_over, **about)
        else:
            ledger.create(sweep.name, unchanging, **about)
        context = SweepContext(
            resolved,
            prepared,
            ledger,
            pool,
            progress,
            earlier or EarlierStudies(),
            was_complete=start.was_complete,
            costs=costs,
            trains_networks=trains_networks,
            trial_limit_s=trial_limit_s,
            began=began,
            spent_before_s=ledger.spent_s(sweep.name),
            stages_s=stages_s,
            monitor=monitor,
        )
        context.monitor_study()
        yield context
