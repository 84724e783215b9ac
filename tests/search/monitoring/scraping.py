"""Scrapes the metrics of a sweep over HTTP, as Prometheus does."""

import urllib.request

from prometheus_client.parser import text_string_to_metric_families

Sample = tuple[str, frozenset[tuple[str, str]]]


def scraped(url: str) -> str:
    """The text at a metrics URL.

    Raises:
        URLError: nothing listens there.
    """
    with urllib.request.urlopen(url, timeout=20) as answer:
        text: str = answer.read().decode()
    return text


def samples_of(text: str) -> dict[Sample, float]:
    """(name, labels) -> value of each sample, without the label `study`."""
    return {
        sample_key(sample.name, **{k: v for k, v in sample.labels.items() if k != "study"}): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def sample_key(metric: str, **labels: str) -> Sample:
    """The key of a sample in `samples_of`."""
    return metric, frozenset(labels.items())
