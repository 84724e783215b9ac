"""Prometheus metrics of a bundle's health, made from a server's latest answers at each scrape."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from chorale.search.champion.health.health import Health
from chorale.search.champion.health.monitor import HealthMonitor


class HealthCollector(Collector):
    """The metrics of one server; those that are not known yet, or never, have no sample."""

    def __init__(self, monitor: HealthMonitor) -> None:
        self._monitor = monitor

    def collect(self) -> Iterator[Metric]:
        """Each metric, in Prometheus' form."""
        for name, (text, value) in _gauges(self._monitor.health()).items():
            gauge = GaugeMetricFamily(f"chorale_{name}", text)
            if value is not None:
                gauge.add_metric([], value)
            yield gauge
        yield CounterMetricFamily(
            "chorale_health_lost",
            "Answers whose statistics could not be written.",
            value=self._monitor.n_lost,
        )


def _gauges(health: Health) -> dict[str, tuple[str, float | None]]:
    """Metric -> its help, and its value."""
    found, reference, alarm = health.accuracy, health.reference, health.alarm
    return {
        "expected_accuracy": (
            "Share of the latest answers that is expected to be right, from their confidence.",
            None if found is None else found.accuracy,
        ),
        "expected_accuracy_low": (
            "Lower end of its 95 % interval.", None if found is None else found.low,
        ),
        "expected_accuracy_high": (
            "Upper end of its 95 % interval.", None if found is None else found.high,
        ),
        "reference_accuracy": (
            "Accuracy that is expected on tracks like those of the study.",
            None if reference is None else reference.accuracy,
        ),
        "confidence_alarm": (
            "1 where answers have become less confident, else 0.",
            None if alarm is None else float(alarm.active),
        ),
        "confidence": ("Mean confidence of the latest answers.", health.confidence),
        "disagreement": (
            "Mean disagreement of the members on the latest answers, in nats.",
            health.disagreement,
        ),
        "out_of_distribution": (
            "Share of the latest answers that is flagged as out of distribution.",
            health.out_of_distribution,
        ),
        "similarity_margin": (
            "By how much the latest recordings are more similar to the training tracks than "
            "required, on average.",
            health.similarity_margin,
        ),
    }  # fmt: skip
