"""`chorale sweep [SWEEP.yaml | FOLDER] [--key.sub value ...] [--plan | --resume | --continue]`."""

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from chorale.search.commands.metrics_options import (
    METRICS_PORT,
    MetricsAddress,
    served_metrics,
    split_metrics_options,
)
from chorale.search.commands.study_options import console

if TYPE_CHECKING:
    from chorale.search.config.resolve import ResolvedSweep

DEFAULT_SWEEP, DEFAULT_DATASET = "demo", "synthetic"
PLAN = "--plan"
SWEEP_FLAGS = ("--resume", "--continue", "--take-over", PLAN)


def run(args: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    if any(arg in ("-h", "--help") for arg in args):
        from chorale.search.commands.sweep_help import sweep_help

        print(sweep_help())
        return 0
    from chorale.cluster.connection.addresses import is_remote
    from chorale.cluster.environment import in_ray_job
    from chorale.search.config import yaml_file
    from chorale.search.config.resolve import resolve_file

    unmetered, metrics = split_metrics_options(args)
    rest = [arg for arg in unmetered if arg not in SWEEP_FLAGS]
    named = rest.pop(0) if rest and not rest[0].startswith("--") else None
    values = yaml_file.parse_overrides(rest)
    file = named or _default_sweep(values.get("dataset.name"))
    resolved = resolve_file(file, values)
    address = resolved.sweep.cluster.address
    if PLAN in args and is_remote(address):
        from chorale.datasets.errors import UserError

        raise UserError(
            f"{PLAN} measures where it runs, but got --cluster.address {address}; type it there, "
            f"or forecast for this machine: --cluster.address local"
        )
    if metrics is not None and (PLAN in args or is_remote(address)):
        _refuse_metrics(str(address), remote=is_remote(address))
    if is_remote(address):
        return _send(resolved, str(address), file, rest)
    if PLAN in args:
        from chorale.search.sweep.run import forecast_sweep

        forecast_sweep(resolved, console=console())
        return 0
    kept = [arg for arg in args if arg not in SWEEP_FLAGS]
    again = shlex.join(["chorale", "sweep", *kept, "--resume"])
    return run_and_show(
        resolved,
        resume=None if "--continue" in args else "--resume" in args,
        take_over="--take-over" in args,
        again="submit the same again" if in_ray_job() else again,
        metrics=metrics,
    )


def _refuse_metrics(address: str, *, remote: bool) -> None:
    """Refuses to serve metrics of a sweep that does not run in this process.

    Raises:
        UserError: always.
    """
    from chorale.datasets.errors import UserError

    why = f"as a job of {address}" if remote else f"with {PLAN}"
    raise UserError(
        f"--{METRICS_PORT} serves metrics of a sweep that runs in this process, but {why} none "
        f"does; leave it out" + (", or type the same on the head node" if remote else "")
    )


def _default_sweep(dataset: object) -> str:
    """What is run without a sweep file: the demo, whose settings are for its own music only."""
    from chorale.datasets import catalog, plugins

    is_other = dataset in plugins.plugin_names(catalog) and dataset != DEFAULT_DATASET
    return str(dataset) if is_other else DEFAULT_SWEEP


def _send(resolved: "ResolvedSweep", address: str, file: str, rest: Sequence[str]) -> int:
    """Submits the sweep as a job of its cluster, and follows it."""
    from chorale.search.commands.job_options import ALLOW_NO_TOKEN, JobOptions
    from chorale.search.commands.submit import submit_sweep

    flags = [ALLOW_NO_TOKEN] if resolved.sweep.cluster.allow_no_token else []
    return submit_sweep(
        resolved, JobOptions(None, address, flags, tuple(rest)), file=file, wait=True
    )


def run_and_show(
    resolved: "ResolvedSweep",
    *,
    resume: bool | None,
    take_over: bool,
    again: str,
    finish: bool = False,
    metrics: MetricsAddress | None = None,
) -> int:
    """Runs a sweep and shows its report; returns the exit code.

    Args:
        resolved: the sweep.
        resume: resume the study of that name instead of starting it; None: if it exists.
        take_over: resume it even if another process seems to run it.
        again: the command line that resumes the sweep.
        finish: train nothing more.
        metrics: where metrics are served while it runs; nowhere if None.

    Raises:
        UserError, ClusterError: what the user can fix.
        KeyboardInterrupt: interrupted; the study can be resumed.
    """
    from chorale.search import interrupts
    from chorale.search.sweep.run import run_sweep

    shown = console()
    try:
        with served_metrics(metrics, shown) as monitor:
            found = run_sweep(
                resolved,
                resume=resume,
                take_over=take_over,
                finish=finish,
                console=shown,
                monitor=monitor,
            )
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        if not (isinstance(error, KeyboardInterrupt) or interrupts.was_interrupted()):
            raise
        line = f"\nInterrupted; every finished trial is kept. Resume with:  {again}"
        shown.print(line, markup=False, soft_wrap=True)
        sweep = resolved.sweep
        where = [] if sweep.runs == "runs" else ["--runs", sweep.runs]
        now = shlex.join(["chorale", "resume", sweep.name, *where, "--finish"])
        if sweep.paths.sweep_yaml.is_file():  # it has begun to train
            line = f"Or end it with the best model so far:  {now}"
            shown.print(line, markup=False, soft_wrap=True)
        raise
    from chorale.search.commands.next_steps import print_next_steps
    from chorale.search.report.summary import print_summary

    print_summary(found, shown, folder=str(resolved.sweep.paths.root))
    print_next_steps(resolved.sweep, shown)
    return 0
