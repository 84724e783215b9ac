"""Shared by commands that run a sweep: `--metrics-port PORT [--metrics-host HOST]`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chorale.datasets.errors import UserError
from chorale.search.commands.local_page import HOST, port_of

if TYPE_CHECKING:
    from rich.console import Console

    from chorale.search.monitoring.monitor import SweepMonitor

METRICS_PORT, METRICS_HOST = "metrics-port", "metrics-host"

METRICS_HELP = """\
  --metrics-port PORT  serve Prometheus metrics at http://127.0.0.1:PORT/metrics while it runs; 0
                       takes any free port, and prints it
  --metrics-host HOST  the address to serve them on (127.0.0.1): without authentication, to every
                       machine that can reach it
"""


@dataclass(frozen=True)
class MetricsAddress:
    """Where a sweep's metrics are served."""

    host: str
    port: int


def split_metrics_options(args: Sequence[str]) -> tuple[list[str], MetricsAddress | None]:
    """The other arguments, and where metrics are served; None where they are not.

    Raises:
        UserError: a value is missing or no port number, or there is a host without a port.
    """
    rest, given, words = list[str](), dict[str, str](), list(args)
    while words:
        word = words.pop(0)
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or name not in (METRICS_PORT, METRICS_HOST):
            rest.append(word)
            continue
        if not equals:
            if not words or words[0].startswith("--"):
                example = "9464" if name == METRICS_PORT else HOST
                raise UserError(f"--{name} needs a value: --{name} {example}")
            value = words.pop(0)
        given[name] = value
    port = port_of(given, METRICS_PORT)
    if port is None:
        if METRICS_HOST in given:
            raise UserError(f"--{METRICS_HOST} needs a port, too: --{METRICS_PORT} 9464")
        return rest, None
    return rest, MetricsAddress(given.get(METRICS_HOST, HOST), port)


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
