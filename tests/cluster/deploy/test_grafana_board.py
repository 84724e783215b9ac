"""The Grafana board: its queries name metrics that exist, every metric is shown, panels fit."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from chorale import cluster
from chorale.cluster.base import Resources
from chorale.search.champion.serve.metrics import Metrics
from chorale.search.config.schema import BudgetConfig
from chorale.search.ledger.reader import Row
from chorale.search.monitoring.collector import SweepCollector
from chorale.search.monitoring.endpoint import METRICS_PATH
from chorale.search.monitoring.monitor import SweepMonitor
from tests.search.champion.health.fake_bundle import health_monitor

DEPLOY = Path(cluster.__file__ or "").parent / "deploy"
BOARD: dict[str, Any] = json.loads((DEPLOY / "grafana_board.json").read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]

NOT_SHOWN: dict[str, str] = {}
"""Metric -> why the board does not show it."""

SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",), "gauge": ("",)}
GRAFANAS_VARIABLES = {"$study", "$__rate_interval", "$__range"}

Families = dict[str, tuple[tuple[str, ...], set[str]]]
"""Metric -> the names of its samples, and those of its labels."""


def _families(text: str) -> Families:
    """Without the times at which `prometheus_client` created counters and histograms."""
    return {
        family.name: (
            tuple(family.name + suffix for suffix in SUFFIXES[family.type]),
            {label for sample in family.samples for label in sample.labels},
        )
        for family in text_string_to_metric_families(text)
        if not family.name.endswith("_created")
    }


def _sweep() -> Families:
    """Of a sweep in which every metric has a sample."""
    monitor = SweepMonitor()
    monitor.begin("s")
    facts = {"architecture": "cnn", "elapsed_s": 1.0, "metrics": {"accuracy": 0.5}}
    failed = Row("1", "FAIL", "", {"architecture": "cnn", "failure": "bug"})
    rows = {
        "search": {"0": Row("0", "COMPLETE", facts=facts), "1": failed},
        "attempts": {"search/0/0": Row("search/0/0", "LOST", "", {"elapsed_s": 1.0})},
    }
    monitor.attach(
        objective="accuracy", budget=BudgetConfig(minutes=1), resources=Resources(), n_at_once=1,
        wall_s=lambda: 0.0, stages_s={}, rows=rows,
    )  # fmt: skip
    monitor.enter("search")
    registry = CollectorRegistry()
    registry.register(SweepCollector(monitor))
    with monitor.training(n_waiting=lambda: 1, forecast_s=lambda: 1.0):
        monitor.started(0, "cnn", Resources())
        return _families(generate_latest(registry).decode())


def _server_text() -> str:
    """Of a server with one answer of each kind."""
    metrics = Metrics(bundle="digest", study="s", health=health_monitor())
    metrics.requests.labels(200, "").inc()
    metrics.count(["rock"])
    metrics.shadow_answers.labels("yes").inc()
    return metrics.text().decode()


EXPORTED = _sweep() | _families(_server_text())


QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
STUDY_VARIABLE = {one["name"]: one for one in BOARD["templating"]["list"]}["study"]


def _names(query: str) -> set[str]:
    """What could be a metric's name in a PromQL expression."""
    without_labels = re.sub(r"\{[^}]*\}|\bby \([^)]*\)|\[[^\]]*\]", "", query)
    return set(re.findall(r"[a-z_:][a-z0-9_:]*\b(?! *\()", without_labels))


def _labels(query: str) -> set[str]:
    """The labels by which a query groups and selects."""
    grouped = {name for by in re.findall(r"\bby \(([^)]*)\)", query) for name in by.split(", ")}
    return grouped | set(re.findall(r"(\w+)=~?\"", query))


def _family(sample: str) -> str | None:
    return next((name for name, (samples, _) in EXPORTED.items() if sample in samples), None)


@pytest.mark.parametrize("query", [*QUERIES, STUDY_VARIABLE["query"]["query"].split(", ")[0] + ")"])
def test_a_query_names_metrics_and_labels_that_exist(query: str) -> None:
    names = _names(query.removeprefix("label_values"))
    assert names, "no metric was found in it"
    assert {name: _family(name) for name in names if _family(name) is None} == {}
    for name in names:
        _, labels = EXPORTED[str(_family(name))]
        assert _labels(query) <= labels, name
    assert set(re.findall(r"\$\w+", query)) <= GRAFANAS_VARIABLES


@pytest.mark.parametrize(
    ("query", "names"),
    [
        (
            'sum by (le) (rate(a_b{study=~"$study"}[$__rate_interval])) / c_total',
            {"a_b", "c_total"},
        ),
        ("histogram_quantile(0.9, sum by (le, stage) (a_bucket))", {"a_bucket"}),
        ('topk(10, a{b="c"}) == 1', {"a"}),
    ],
)
def test_names_of_metrics_are_found_in_a_query(query: str, names: set[str]) -> None:
    assert _names(query) == names


def test_every_metric_is_shown_or_the_reason_why_not_is_given() -> None:
    assert len(EXPORTED) > 20
    shown = {_family(name) for query in QUERIES for name in _names(query)}
    assert EXPORTED.keys() - shown == NOT_SHOWN.keys()


def test_every_metric_has_the_prefix_and_a_help_text() -> None:
    assert {name for name in EXPORTED if not name.startswith("chorale_")} == set()
    registry = CollectorRegistry()
    registry.register(SweepCollector(SweepMonitor()))
    lines = [generate_latest(registry).decode(), _server_text()]
    for family in text_string_to_metric_families("\n".join(lines)):
        assert family.name.endswith("_created") or family.documentation.endswith("."), family.name


def test_legends_use_labels_of_their_query() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            used = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            grouped = re.search(r"\bby \(([^)]*)\)", target["expr"])
            [name, *_] = sorted(_names(target["expr"]))
            labels = grouped[1].split(", ") if grouped else EXPORTED[str(_family(name))][1]
            assert used <= set(labels), target


def test_panels_fit_beside_each_other_and_say_what_they_show() -> None:
    cells: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        own = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & own, panel["title"]
        cells |= own
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    assert [one["title"] for one in BOARD["panels"] if one["type"] == "row"] == [
        "Sweep: chorale sweep --metrics-port",
        "Serving: chorale serve",
    ]
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]


def test_the_data_source_is_a_variable() -> None:
    variables = {one["name"]: one for one in BOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    used = [STUDY_VARIABLE["datasource"], *(panel["datasource"] for panel in PANELS)]
    used += [target["datasource"] for panel in PANELS for target in panel["targets"]]
    assert all(one == {"type": "prometheus", "uid": "${datasource}"} for one in used)


def test_prometheus_scrapes_this_machine_only_and_the_file_holds_no_token() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    jobs = {one["job_name"]: one for one in config["scrape_configs"]}
    assert jobs.keys() == {"chorale_sweep", "chorale_serve"}
    for one in jobs.values():
        assert one.get("metrics_path", "/metrics") == METRICS_PATH
        for targets in one["static_configs"]:
            assert all(target.startswith("127.0.0.1:") for target in targets["targets"])
    assert jobs["chorale_serve"]["authorization"] == {"credentials_file": "token"}
