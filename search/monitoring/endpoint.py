"""The HTTP endpoint of a sweep's metrics: `/metrics`, for Prometheus, in a thread of this process.

It has no authentication, so by default only this machine can reach it.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from prometheus_client import CollectorRegistry, make_wsgi_app

from chorale.search.http_server import WsgiApp, serving
from chorale.search.monitoring.collector import SweepCollector
from chorale.search.monitoring.monitor import SweepMonitor

METRICS_PATH = "/metrics"

OPTION_PREFIX = "--metrics-"
"""Of the options `host` and `port` of the commands that serve metrics."""


@contextmanager
def metrics_endpoint(monitor: SweepMonitor, *, host: str, port: int) -> Iterator[str]:
    """Serves the metrics while the block runs; yields their URL. Port 0 is any free one.

    Raises:
        UserError: the port is taken, or the host is no address of this machine.
    """
    registry = CollectorRegistry()
    registry.register(SweepCollector(monitor))
    with serving(
        _only_metrics(make_wsgi_app(registry)), host=host, port=port, prefix=OPTION_PREFIX
    ) as url:
        yield url + METRICS_PATH


def _only_metrics(metrics: WsgiApp) -> WsgiApp:
    """The app at `METRICS_PATH`; any other path is not found."""

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == METRICS_PATH:
            return metrics(environ, start)
        start("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"the metrics are at {METRICS_PATH}\n".encode()]

    return answer
