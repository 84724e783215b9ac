"""The metrics of a monitor: failures, lost attempts, budgets, repeated epochs, memory."""

import os
import subprocess
import sys

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from chorale.cluster.base import Resources
from chorale.search.config.schema import BudgetConfig
from chorale.search.ledger.reader import Row
from chorale.search.monitoring.collector import SweepCollector
from chorale.search.monitoring.histogram import DurationHistogram
from chorale.search.monitoring.memory import resident_bytes
from chorale.search.monitoring.monitor import STAGES, SweepMonitor
from tests.search.monitoring.scraping import Sample, sample_key, samples_of

DONE = {"architecture": "cnn", "elapsed_s": 600.0, "metrics": {"mAP": 0.5}, "n_epochs": 3}
PRIVATE = "OperationalError: password=hunter2 /home/me"
SEARCH_ROWS = {
    "0": Row("0", "COMPLETE", facts=DONE),
    "1": Row("1", "PRUNED", facts=DONE | {"elapsed_s": 60.0, "metrics": {"mAP": 0.9}}),
    "2": Row("2", "FAIL", PRIVATE, {"architecture": "mlp", "elapsed_s": 1.0, "failure": "bug"}),
    "3": Row("3", "FAIL", "interrupted", {"architecture": "mlp", "failure": "interrupted"}),
}
ATTEMPTS = {
    "search/2/0": Row("search/2/0", "LOST", PRIVATE, {"elapsed_s": 9.0, "failure": "stalled"}),
    "finalists/0/1/0/0": Row("finalists/0/1/0/0", "LOST", PRIVATE, {"elapsed_s": 5.0}),
}
FINALIST = Row("0/1/0", "COMPLETE", facts={"elapsed_s": 20.0, "n_epochs": 2})


def _attached(budget: BudgetConfig, wall_s: float = 0.0) -> SweepMonitor:
    monitor = SweepMonitor()
    monitor.begin("s")
    monitor.attach(
        objective="mAP",
        budget=budget,
        resources=Resources(2, 0.5),
        n_at_once=4,
        wall_s=lambda: wall_s,
        stages_s={"data": 5.0},
        rows={"search": SEARCH_ROWS, "attempts": ATTEMPTS, "finalists": {"0/1/0": FINALIST}},
    )
    return monitor


def _text(monitor: SweepMonitor) -> str:
    registry = CollectorRegistry()
    registry.register(SweepCollector(monitor))
    return generate_latest(registry).decode()


def _of(monitor: SweepMonitor, metric: str) -> dict[tuple[str, ...], float]:
    """Values of the labels, by their names' order -> value."""
    return {
        tuple(value for _, value in sorted(labels)): value
        for (name, labels), value in samples_of(_text(monitor)).items()
        if name == metric
    }


def test_rows_of_the_ledger_are_counted_by_architecture_stage_and_state() -> None:
    assert _of(_attached(BudgetConfig()), "chorale_trials") == {
        ("cnn", "search", "complete"): 1,
        ("cnn", "search", "pruned"): 1,
        ("mlp", "search", "failed"): 2,
        ("cnn", "finalists", "complete"): 1,  # its row names the trial, and not the architecture
    }


def test_the_best_objective_is_that_of_a_complete_trial() -> None:
    assert _of(_attached(BudgetConfig()), "chorale_best_objective") == {("mAP",): 0.5}


def test_failures_and_lost_attempts_are_counted_by_kind_without_their_reasons() -> None:
    monitor = _attached(BudgetConfig())
    assert _of(monitor, "chorale_trial_failures") == {
        ("bug", "search"): 1,
        ("interrupted", "search"): 1,
    }
    assert _of(monitor, "chorale_trial_attempts_lost_total") == {
        ("stalled", "search"): 1,
        ("unknown", "finalists"): 1,  # of an older version
    }
    assert not [word for word in PRIVATE.split() if word in _text(monitor)]


def test_a_row_replaces_an_earlier_one_of_its_key() -> None:
    monitor = _attached(BudgetConfig())
    monitor.recorded("search", Row("2", "COMPLETE", facts=DONE | {"metrics": {"mAP": 0.75}}))
    assert _of(monitor, "chorale_trial_failures") == {("interrupted", "search"): 1}
    assert _of(monitor, "chorale_best_objective") == {("mAP",): 0.75}


def test_the_budget_that_is_left_counts_wall_time_or_cores_and_gpus_of_all_runs() -> None:
    monitor = _attached(BudgetConfig(minutes=60, core_hours=1, gpu_hours=0.1), wall_s=600.0)
    trained_s = 600 + 60 + 1 + 9 + 5 + 20
    assert _of(monitor, "chorale_budget_seconds") == {
        ("minutes",): 3600, ("core_hours",): 3600, ("gpu_hours",): 360
    }  # fmt: skip
    assert _of(monitor, "chorale_budget_left_seconds") == {
        ("minutes",): 3000,
        ("core_hours",): 3600 - 2 * trained_s,
        ("gpu_hours",): 360 - trained_s / 2,
    }
    spent = _attached(BudgetConfig(core_hours=0.01))
    assert _of(spent, "chorale_budget_left_seconds") == {("core_hours",): 0}


def test_running_trials_use_what_they_were_given() -> None:
    monitor = _attached(BudgetConfig())
    monitor.enter("search")
    with monitor.training(n_waiting=lambda: 7, forecast_s=lambda: 30.0):
        monitor.started(0, "cnn", Resources(2, 0.25))
        monitor.started(1, "mlp", Resources(2, 0.5))
        assert _of(monitor, "chorale_trials_running") == {
            ("cnn", "search"): 1,
            ("mlp", "search"): 1,
        }
        assert _of(monitor, "chorale_cores_in_use") == {(): 4}
        assert _of(monitor, "chorale_gpus_in_use") == {(): 0.75}
        assert _of(monitor, "chorale_cores_available") == {(): 8}
        assert _of(monitor, "chorale_gpus_available") == {(): 2}
        assert _of(monitor, "chorale_trials_waiting") == {("search",): 7}
        assert _of(monitor, "chorale_forecast_seconds") == {("search",): 30}
        assert monitor.n_begun("search") == len(SEARCH_ROWS) + 2
    assert _of(monitor, "chorale_trials_running") == {}
    assert _of(monitor, "chorale_trials_waiting") == _of(monitor, "chorale_forecast_seconds") == {}


def test_an_epoch_that_a_resumed_trial_reports_twice_counts_once() -> None:
    monitor = _attached(BudgetConfig())
    before = _of(monitor, "chorale_epochs_total")
    assert before == {("cnn", "search"): 6, ("cnn", "finalists"): 2, ("mlp", "search"): 0}
    monitor.enter("search")
    for steps in ((1, 2), (1, 2, 3)):  # two attempts
        monitor.started(7, "cnn", Resources())
        for step in steps:
            monitor.epoch_ended(7, step)
        monitor.ended(7)
    assert _of(monitor, "chorale_epochs_total")["cnn", "search"] == 6 + 3


def test_one_stage_at_most_is_current_and_its_time_counts() -> None:
    monitor = _attached(BudgetConfig())
    assert set(_of(monitor, "chorale_stage").values()) == {0}
    assert _of(monitor, "chorale_stage_seconds") == {("data",): 5.0}
    monitor.enter("search")
    assert {stage for (stage,), on in _of(monitor, "chorale_stage").items() if on} == {"search"}
    assert set(_of(monitor, "chorale_stage")) == {(stage,) for stage in STAGES}
    running_s = _of(monitor, "chorale_stage_seconds")["search",]
    monitor.enter("")
    ended_s = _of(monitor, "chorale_stage_seconds")["search",]
    assert 0 < running_s <= ended_s == _of(monitor, "chorale_stage_seconds")["search",]


@pytest.mark.parametrize("n_before", [0, 3])
def test_a_histogram_counts_each_duration_in_every_bucket_above_it(n_before: int) -> None:
    histogram = DurationHistogram((1, 10), [0.5] * n_before)
    for duration_s in (1.0, 2.0, 11.0):
        histogram.add(duration_s)
    buckets, sum_s = histogram.read()
    counts = (n_before + 1, n_before + 2, n_before + 3)
    assert buckets == list(zip(("1.0", "10.0", "+Inf"), counts, strict=True))
    assert sum_s == 14.0 + 0.5 * n_before


def test_memory_is_that_of_this_process_and_of_its_children() -> None:
    waits = "import sys; data = bytearray(50_000_000); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", waits], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        found = resident_bytes()
        child.communicate()
    assert found["workers"] > 50_000_000
    with open(f"/proc/{os.getpid()}/statm", encoding="ascii") as file:  # noqa: PTH123
        pages = int(file.read().split()[1])
    assert found["driver"] == pytest.approx(pages * os.sysconf("SC_PAGE_SIZE"), rel=0.2)


def test_every_metric_is_described_before_the_study_is_open() -> None:
    lines = _text(SweepMonitor()).splitlines()
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names)) > 15
    assert all(name.startswith("chorale_") for name in names)
    values: dict[Sample, float] = samples_of("\n".join([*lines, ""]))
    assert values[sample_key("chorale_cores_available")] == 0
