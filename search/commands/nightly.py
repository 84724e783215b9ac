"""`chorale nightly NIGHTLY.yaml`: one nightly run, and its verdict."""

import sys
from collections.abc import Sequence
from datetime import date

from chorale.search.commands.metrics_options import (
    METRICS_HELP,
    served_metrics,
    split_metrics_options,
)

HELP = f"""\
usage: chorale nightly NIGHTLY.yaml [--night YYYY-MM-DD] [--accept] [--metrics-port PORT]
                       [--key value ...]

Runs the night that is due, and exits; cron, systemd, Kubernetes or `chorale schedule run` call it.
Each date is run only once: a second call prints the result of the first. An interrupted night is
resumed; after an outage the latest night is run, and the others are recorded as missed.

  NIGHTLY.yaml       a nightly file, or a shipped one: nightly_demo, nightly_gtzan, nightly_fma
  --night DATE       run the night of that date, whatever the time is
  --accept           accept the data as it is, whatever changed since the last night
  --key value        override a key of the file: --budget.trials 8, --gate.min_gain 0.01
{METRICS_HELP}
A nightly file holds a sweep's keys (chorale sweep --help) or `sweep: NAME`, and also:

  schedule   at, until (HH:MM), zone            when a night starts, and when its search ends
  gate       confidence, min_gain, class_floor, max_latency_ms, max_size_mb
  changes    sync, max_relabelled, max_gone, confidence
  retention  top, max_gb                        which weights are kept
  notify     urls, webhook, link                who is notified
  champion   a name; earlier, max_looks         earlier nights to reuse, looks at a test set

Exit codes: 0 promoted or kept, 10 inconclusive, 20 the data was refused, 75 another night is
running, 1 it failed.
"""

NIGHTLY_FLAGS = ("--accept",)


def run(args: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    from chorale.datasets.errors import UserError
    from chorale.search.commands.study_options import console
    from chorale.search.config import yaml_file
    from chorale.search.nightly.config import load_nightly
    from chorale.search.nightly.night_lock import BusyError
    from chorale.search.nightly.records import EXIT_BUSY

    rest, metrics = split_metrics_options(args)
    rest = [arg for arg in rest if arg not in NIGHTLY_FLAGS]
    if not rest or rest[0].startswith("--"):
        raise UserError(
            "expected a nightly file; type: chorale nightly NIGHTLY.yaml (nightly_demo is one)"
        )
    file, dotted = rest[0], yaml_file.parse_overrides(rest[1:])
    night = _date(dotted.pop("night", None))
    nightly = load_nightly(file, dotted)

    from chorale.search.nightly.night import run_night

    shown, accept = console(), "--accept" in args
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


def _date(given: object) -> date | None:
    from chorale.datasets.errors import UserError

    if given is None or isinstance(given, date):
        return given
    try:
        return date.fromisoformat(str(given))
    except ValueError:
        raise UserError(f"--night should be a date, YYYY-MM-DD, but got '{given}'") from None
