"""`chorale sweep [SWEEP.yaml | FOLDER | DATASET] [--key.sub value ...]`: a whole sweep."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chorale.search.commands.command import command, require, typed_command
from chorale.search.commands.console import console, progress_console
from chorale.search.commands.key_words import one_name, split_key_words, sweep_keys
from chorale.search.commands.metrics_options import (
    METRICS_PORT,
    MetricsAddress,
    metrics_options,
    served_metrics,
)
from chorale.search.commands.parameters import SweepWords, flag

if TYPE_CHECKING:
    from chorale.search.config.resolve import ResolvedSweep

DEFAULT_SWEEP, DEFAULT_DATASET = "demo", "synthetic"
PLAN, RESUME, CONTINUE, TAKE_OVER = "--plan", "--resume", "--continue", "--take-over"


@command(
    keys=True,
    examples=[
        "chorale sweep",
        "chorale sweep my.yaml --budget.trials 64 --architectures cnn,recurrent",
        "chorale sweep music --plan",
        "chorale sweep my.yaml --resume",
    ],
)
@click.argument(
    "words",
    nargs=-1,
    type=SweepWords(),
    metavar="[SWEEP.yaml | FOLDER | DATASET] [--KEY VALUE ...]",
)
@flag(
    PLAN,
    "Prepare the data, measure the speed of each architecture, and print what the sweep would do "
    "and how long it would take, without starting it.",
)
@flag(
    RESUME,
    "Resume an interrupted sweep; chorale resume STUDY does so without the file.",
)
@flag(
    CONTINUE,
    "Resume the sweep if it exists, and else start it: for jobs that are restarted automatically.",
    name="continues",
)
@flag(TAKE_OVER, "With --resume: even if another process seems to run it.")
@metrics_options
def run(
    words: tuple[str, ...],
    plan: bool,
    resume: bool,
    continues: bool,
    take_over: bool,
    metrics: MetricsAddress | None,
) -> int:
    """Runs a sweep on a dataset.

    SWEEP.yaml is a file, or the name of a shipped sweep. A FOLDER with a folder of recordings for
    each label, or a DATASET, is read with the defaults of all keys. Without any of them the demo on
    the built-in synthetic corpus runs. Each key of the file can be given on the command line:
    chorale keys lists them, and the shipped sweeps, datasets, feature sets and architectures.
    """
    from chorale.cluster.connection.addresses import is_remote
    from chorale.cluster.environment import in_ray_job
    from chorale.search.config import yaml_file
    from chorale.search.config.resolve import resolve_file

    names, keys = split_key_words(words, sweep_keys())
    values = yaml_file.parse_overrides(keys)
    if not names:
        names = [_default_sweep(values.get("dataset", values.get("dataset.name")))]
    file = one_name(names, "one sweep or folder")
    resolved = resolve_file(file, values)
    address = resolved.sweep.cluster.address
    require(
        not plan or not is_remote(address),
        f"{PLAN} measures where it runs, but got --cluster.address {address}; type it there, "
        f"or forecast for this machine: --cluster.address local",
    )
    if metrics is not None and (plan or is_remote(address)):
        _refuse_metrics(str(address), remote=is_remote(address))
    if is_remote(address):
        return _send(resolved, str(address), file, keys)
    if plan:
        from chorale.search.sweep.run import forecast_sweep

        forecast_sweep(resolved, console=console())
        return 0
    again = typed_command(without=(PLAN, RESUME, CONTINUE, TAKE_OVER), more=[RESUME])
    return run_and_show(
        resolved,
        resume=None if continues else resume,
        take_over=take_over,
        again="submit the same again" if in_ray_job() else again,
        metrics=metrics,
    )


def _refuse_metrics(address: str, *, remote: bool) -> None:
    """Refuses to serve metrics of a sweep that does not run in this process.

    Raises:
        click.UsageError: always.
    """
    why = f"as a job of {address}" if remote else f"with {PLAN}"
    require(
        False,
        f"{METRICS_PORT} serves metrics of a sweep that runs in this process, but {why} none "
        f"does; leave it out" + (", or type the same on the head node" if remote else ""),
    )


def _default_sweep(dataset: object) -> str:
    """What is run without a sweep file: the demo, whose settings are for its own music only."""
    from chorale.datasets import catalog, plugins

    if not isinstance(dataset, str) or dataset == DEFAULT_DATASET:
        return DEFAULT_SWEEP
    is_known = dataset in plugins.plugin_names(catalog) or Path(dataset).expanduser().is_dir()
    return dataset if is_known else DEFAULT_SWEEP


def _send(resolved: "ResolvedSweep", address: str, file: str, keys: Sequence[str]) -> int:
    """Submits the sweep as a job of its cluster, and follows it."""
    from chorale.search.commands.job_options import JobServer
    from chorale.search.commands.submit import submit_sweep

    server = JobServer(address, resolved.sweep.cluster.allow_no_token)
    return submit_sweep(resolved, server, file=file, keys=keys, wait=True)


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

    shown = progress_console()
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
        console().print(line, markup=False, soft_wrap=True)
        sweep = resolved.sweep
        where = [] if sweep.runs == "runs" else ["--runs", sweep.runs]
        now = shlex.join(["chorale", "resume", sweep.name, *where, "--finish"])
        if sweep.paths.sweep_yaml.is_file():  # it has begun to train
            line = f"Or end it with the best model so far:  {now}"
            console().print(line, markup=False, soft_wrap=True)
        raise
    from chorale.search.commands.next_steps import print_next_steps
    from chorale.search.report.summary import print_summary

    print_summary(found, console(), folder=str(resolved.sweep.paths.root))
    print_next_steps(resolved.sweep, console())
    return 0
