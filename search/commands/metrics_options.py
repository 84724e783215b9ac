"""Options of commands that run a sweep: `--metrics-port PORT [--metrics-host HOST]`."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from chorale.search.commands.command import require
from chorale.search.commands.local_page import HOST
from chorale.search.commands.parameters import PORT

if TYPE_CHECKING:
    from rich.console import Console

    from chorale.search.monitoring.monitor import SweepMonitor

METRICS_PORT = "--metrics-port"


@dataclass(frozen=True)
class MetricsAddress:
    """Where a sweep's metrics are served."""

    host: str
    port: int


def metrics_options(function: Callable[..., int]) -> Callable[..., int]:
    """Decorator: the function's argument `metrics` is a `MetricsAddress`, None where not asked."""

    @functools.wraps(function)
    def run(*, metrics_port: int | None, metrics_host: str | None, **more: Any) -> int:
        require(
            metrics_port is not None or metrics_host is None,
            f"--metrics-host needs a port, too: {METRICS_PORT} 9464",
        )
        metrics = None
        if metrics_port is not None:
            metrics = MetricsAddress(metrics_host or HOST, metrics_port)
        return function(metrics=metrics, **more)

    port = click.option(
        METRICS_PORT,
        type=PORT,
        metavar="PORT",
        help="Serve Prometheus metrics at http://127.0.0.1:PORT/metrics while it runs, such as "
        "9464; 0 takes any free port, and prints it.",
    )
    host = click.option(
        "--metrics-host",
        metavar="HOST",
        show_default=HOST,
        help="The address to serve them on: without authentication, to every machine that can "
        "reach it.",
    )
    return port(host(run))


@contextmanager
def served_metrics(address: MetricsAddress | None, console: "Console") -> Iterator["SweepMonitor"]:
    """The monitor of the sweep that the block runs; its metrics are served until the block ends.

    Raises:
        UserError: the port is taken, or the host is no address of this machine.
    """
    from chorale.search.monitoring.monitor import SweepMonitor

    monitor = SweepMonitor()
    if address is None:
        yield monitor
        return
    from chorale.search.monitoring.endpoint import metrics_endpoint

    with metrics_endpoint(monitor, host=address.host, port=address.port) as url:
        console.print(f"{'metrics':<10} {url}", markup=False, highlight=False, soft_wrap=True)
        yield monitor
