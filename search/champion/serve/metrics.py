"""Prometheus metrics of a server."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from chorale.search.champion.health.monitor import HealthMonitor
from chorale.search.champion.serve.health_metrics import HealthCollector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS_S = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """The metrics of one app, in its own collector registry."""

    def __init__(self, *, bundle: str, study: str, health: HealthMonitor | None = None) -> None:
        self._registry = CollectorRegistry()
        if health is not None:
            self._registry.register(HealthCollector(health))
        self.requests = Counter(
            "chorale_requests", "Prediction requests, by status and reason.",
            ["status", "reason"], registry=self._registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "chorale_request_seconds", "Time from request to answer, of requests with status 200.",
            buckets=BUCKETS_S, registry=self._registry,
        )  # fmt: skip
        self.audio_seconds = Counter(
            "chorale_audio_seconds", "Seconds of audio predicted.", registry=self._registry
        )
        self.labels = Counter(
            "chorale_labels", "Recordings by predicted class, or each predicted label.",
            ["label"], registry=self._registry,
        )  # fmt: skip
        self.waiting = Gauge(
            "chorale_waiting", "Requests being received, decoded or predicted.",
            registry=self._registry,
        )  # fmt: skip
        self.shadow_answers = Counter(
            "chorale_shadow_answers", "Shadow answers, by whether they equal the server's.",
            ["same"], registry=self._registry,
        )  # fmt: skip
        self.shadow_left_out = Counter(
            "chorale_shadow_left_out", "Recordings without a shadow answer: it was busy or failed.",
            registry=self._registry,
        )  # fmt: skip
        info = Gauge(
            "chorale_bundle_info", "The served bundle; always 1.", ["digest", "study"],
            registry=self._registry,
        )  # fmt: skip
        info.labels(bundle, study).set(1)

    def count(self, labels: Iterable[str]) -> None:
        """Counts the labels that were predicted for a recording."""
        for label in labels:
            self.labels.labels(label).inc()

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)
