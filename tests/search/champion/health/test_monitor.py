"""The monitor of one server, and the health that is read from the rings of several."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from chorale.search.champion.health import monitor
from chorale.search.champion.health.alarm import N_RECENT
from chorale.search.champion.health.health import health_of, read_health
from chorale.search.champion.health.monitor import HealthMonitor
from chorale.search.champion.health.ring import Answers, RingWriter
from chorale.search.champion.serve.metrics import Metrics
from tests.search.champion.health.fake_bundle import MANIFEST, bundle, prediction


def _samples(watched: HealthMonitor) -> dict[str, float]:
    text = Metrics(bundle="d", study="s", health=watched).text().decode()
    families = text_string_to_metric_families(text)
    return {sample.name: sample.value for family in families for sample in family.samples}


def test_metrics_have_the_expected_accuracy_with_its_interval() -> None:
    watched = HealthMonitor(bundle())
    assert "chorale_expected_accuracy" not in _samples(watched), "nothing is known yet"
    for _ in range(100):
        watched.observe(prediction(0.9))
    watched.observe(prediction(0.9, outside=True))
    found = _samples(watched)
    assert found["chorale_expected_accuracy"] == pytest.approx(0.85, abs=0.001)
    assert 0.7 < found["chorale_expected_accuracy_low"] < 0.85
    assert 0.85 < found["chorale_expected_accuracy_high"] < 1
    assert found["chorale_reference_accuracy"] == pytest.approx(0.85)
    assert found["chorale_confidence_alarm"] == 0
    assert found["chorale_out_of_distribution"] == pytest.approx(1 / 101)
    assert found["chorale_health_lost_total"] == 0


def test_a_bundle_without_a_reference_has_means_but_no_accuracy() -> None:
    watched = HealthMonitor(bundle(reference=None))
    watched.observe(prediction(0.9))
    found = _samples(watched)
    assert found["chorale_confidence"] == pytest.approx(0.9)
    assert not {"chorale_expected_accuracy", "chorale_confidence_alarm"} & found.keys()
    assert "chorale champion promote STUDY" in watched.health().sentence()


def test_of_several_labels_the_sentence_states_that_nothing_is_estimated() -> None:
    several = replace(MANIFEST, task="multi_label", thresholds={"a": 0.5, "b": 0.5})
    found = health_of(
        Answers.of([]), replace(several, confidence=None), n_answers=3, alarm=None
    ).sentence()
    assert "several labels is not estimated" in found
    assert len(found.splitlines()) == 1


def test_the_answers_of_two_servers_are_one_health(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter(range(10**6))
    monkeypatch.setattr(f"{monitor.__name__}.time.time", lambda: 60.0 * next(times))
    servers = [HealthMonitor(bundle(), tmp_path) for _ in range(2)]
    for at in range(600):
        servers[at % 2].observe(prediction(0.9 if at < 300 else 0.7))
    for one in servers:
        one.close()
    found, n_other, n_damaged = read_health(tmp_path, bundle(), last=100)
    assert (found.n_answers, found.n_recent, n_other, n_damaged) == (600, 100, 0, 0)
    assert found.accuracy is not None
    assert found.accuracy.accuracy == pytest.approx(0.65 + 0.01 * 0.85, abs=1e-6)
    assert found.has_alarm
    assert found.alarm is not None
    assert found.alarm.since_s is not None
    assert 300 * 60 < found.alarm.since_s < 400 * 60
    assert "ALARM since 1970-01-01 05:" in found.sentence()
    assert found.similarity_margin == pytest.approx(0.2)
    json.dumps(found.as_dict(), allow_nan=False)


def test_a_server_keeps_a_bounded_number_of_answers_in_memory() -> None:
    watched = HealthMonitor(bundle())
    for _ in range(N_RECENT + 10):
        watched.observe(prediction(0.9))
    assert (watched.health().n_answers, watched.health().n_recent) == (N_RECENT + 10, N_RECENT)


def test_a_ring_that_cannot_be_written_is_reported_once_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    watched = HealthMonitor(bundle(), tmp_path)
    monkeypatch.setattr(RingWriter, "append", full)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            watched.observe(prediction(0.9))
    assert [record.getMessage() for record in caplog.records] == [
        "statistics of answers are not written: [Errno 28] No space left on device"
    ]
    assert _samples(watched)["chorale_health_lost_total"] == 3
    assert watched.health().n_answers == 3
