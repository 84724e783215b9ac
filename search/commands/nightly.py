"""`chorale nightly NIGHTLY.yaml`: one nightly run, and its verdict."""

import sys
from datetime import date
from typing import Any

import click

from chorale.search.commands.command import command
from chorale.search.commands.console import progress_console
from chorale.search.commands.key_words import one_name, split_key_words, sweep_keys
from chorale.search.commands.metrics_options import (
    MetricsAddress,
    metrics_options,
    served_metrics,
)
from chorale.search.commands.parameters import SweepWords, flag


class _Date(click.ParamType[date, Any]):
    """A date, YYYY-MM-DD."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """The date.

        Raises:
            click.BadParameter: it is none.
        """
        try:
            return date.fromisoformat(str(value))
        except ValueError:
            text = f"should be a date, YYYY-MM-DD, but got '{value}'"
            raise click.BadParameter(text, ctx, param) from None


@command(
    keys=True,
    examples=[
        "chorale nightly my_nightly.yaml",
        "chorale nightly nightly_demo --night 2026-11-30 --budget.trials 8",
    ],
)
@click.argument("words", nargs=-1, type=SweepWords(), metavar="NIGHTLY.yaml [--KEY VALUE ...]")
@click.option(
    "--night",
    type=_Date(),
    metavar="YYYY-MM-DD",
    help="Run the night of that date, whatever the time is.",
)
@flag("--accept", "Accept the data as it is, whatever changed since the last night.")
@metrics_options
def run(
    words: tuple[str, ...], night: date | None, accept: bool, metrics: MetricsAddress | None
) -> int:
    r"""Runs the night that is due, and exits.

    cron, systemd, Kubernetes or chorale schedule run call it. NIGHTLY.yaml is a file, or a shipped
    one: nightly_demo, nightly_gtzan, nightly_fma. Each date is run only once: a second call prints
    the result of the first. An interrupted night is resumed; after an outage the latest night is
    run, and the others are recorded as missed.

    A nightly file holds a sweep's keys (chorale keys) or sweep: NAME, and also:

    \b
    schedule   at, until (HH:MM), zone            when a night starts, when its search ends
    gate       confidence, min_gain, class_floor, max_latency_ms, max_size_mb
    changes    sync, max_relabelled, max_gone, confidence
    retention  top, max_gb                        which weights are kept
    notify     urls, webhook, link                who is notified
    champion   a name; earlier, max_looks         earlier nights to reuse, looks at a test set

    Exit codes: 0 promoted or kept, 10 inconclusive, 20 the data was refused, 75 another night is
    running, 1 it failed.
    """
    from chorale.search.config import yaml_file
    from chorale.search.nightly.config import NIGHTLY_KEYS, load_nightly
    from chorale.search.nightly.night_lock import BusyError
    from chorale.search.nightly.records import EXIT_BUSY

    names, keys = split_key_words(words, [*sweep_keys(), *NIGHTLY_KEYS])
    what = "a nightly file (chorale nightly NIGHTLY.yaml; nightly_demo is one)"
    nightly = load_nightly(one_name(names, what), yaml_file.parse_overrides(keys))

    from chorale.search.nightly.night import run_night

    shown = progress_console()
    try:
        with served_metrics(metrics, shown) as monitor:
            done = run_night(nightly, console=shown, night=night, accept=accept, monitor=monitor)
    except BusyError as error:
        print(f"chorale nightly: {error}", file=sys.stderr)
        return EXIT_BUSY
    if done is None:
        return 0
    if done.code not in (0, 10):
        print(f"chorale nightly: {done.word}: {done.reason}", file=sys.stderr)
    return done.code
