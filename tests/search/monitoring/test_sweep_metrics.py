"""`chorale sweep --metrics-port`: scraped while a sweep runs, at its end, and after a resume."""

import urllib.error
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from chorale.search.cli import main
from chorale.search.ledger.reader import LedgerReader, Row
from chorale.search.monitoring import endpoint
from chorale.search.monitoring.monitor import STAGES, SweepMonitor
from chorale.search.sweep import stages
from tests.search.monitoring.scraping import Sample, sample_key, samples_of, scraped

SECRET = "s3cr3t-token"
SMALL = ["--budget.trials", "2", "--budget.max_epochs", "2", "--search.pruner", "none"]
SMALL += ["--finalists.configs", "1", "--ensemble.kinds", "[soft_vote]"]
SMALL += ["--ensemble.baselines", "none", "--architectures", "[cnn]", "--budget.core_hours", "1"]
LABEL_VALUES = {
    "study": {"tiny"},
    "stage": set(STAGES),
    "state": {"complete", "pruned", "failed"},
    "architecture": {"cnn"},
    "kind": set[str](),
    "objective": {"accuracy"},
    "limit": {"core_hours"},
    "process": {"driver", "workers"},
    "durable": {"true", "false"},
}
"""The values that each label may have in this sweep, `le` of histograms left out."""


class Watched:
    """The scrapes of one command: after each epoch, and before the report is complete."""

    def __init__(self) -> None:
        self.url, self.texts = "", list[str]()

    def scrape(self) -> None:
        self.texts.append(scraped(self.url))

    @property
    def first(self) -> dict[Sample, float]:
        return samples_of(self.texts[0])

    @property
    def last(self) -> dict[Sample, float]:
        return samples_of(self.texts[-1])


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Watched]:
    """Runs a command with `--metrics-port 0`, and scrapes it."""
    served, ended, complete = endpoint.metrics_endpoint, SweepMonitor.epoch_ended, (
        stages.complete_report
    )  # fmt: skip

    def run(*args: str) -> Watched:
        watched = Watched()

        @contextmanager
        def recorded(monitor: SweepMonitor, **where: Any) -> Iterator[str]:
            with served(monitor, **where) as watched.url:
                yield watched.url

        def epoch_ended(monitor: SweepMonitor, trial_id: int, step: int) -> None:
            ended(monitor, trial_id, step)
            watched.scrape()

        def complete_report(context: Any) -> Any:
            watched.scrape()
            return complete(context)

        monkeypatch.setattr(endpoint, "metrics_endpoint", recorded)
        monkeypatch.setattr(SweepMonitor, "epoch_ended", epoch_ended)
        monkeypatch.setattr(stages, "complete_report", complete_report)
        assert main([*args, "--metrics-port", "0"]) == 0
        with pytest.raises(urllib.error.URLError, match="refused"):
            watched.scrape()
        return watched

    return run


def _rows(runs: Path, stage: str) -> list[Row]:
    with LedgerReader(f"sqlite:///{runs / 'chorale.db'}") as ledger:
        return list(ledger.rows("tiny", stage).values())


def test_metrics_agree_with_the_ledger_and_a_resumed_study_goes_on_from_it(
    tiny: list[str],
    tmp_path: Path,
    watch: Callable[..., Watched],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("CHORALE_TOKEN", "RAY_AUTH_TOKEN", "PGPASSWORD"):
        monkeypatch.setenv(name, SECRET)
    runs = tmp_path / "runs"
    first = watch("sweep", *tiny, *SMALL, "--cluster.address", "none")
    assert f"metrics    {first.url}\n" in capsys.readouterr().out
    assert first.url.startswith("http://127.0.0.1:")

    during = first.first  # after the first epoch of the first trial
    assert during[sample_key("chorale_stage", stage="search")] == 1
    assert sum(value for (name, _), value in during.items() if name == "chorale_stage") == 1
    running = sample_key("chorale_trials_running", stage="search", architecture="cnn")
    assert during[running] == 1
    assert during[sample_key("chorale_trials_waiting", stage="search")] == 1
    assert during[sample_key("chorale_cores_in_use")] == 1
    assert during[sample_key("chorale_cores_available")] == 1
    assert during[sample_key("chorale_epochs_total", stage="search", architecture="cnn")] == 1
    assert during[sample_key("chorale_budget_seconds", limit="core_hours")] == 3600
    assert 0 < during[sample_key("chorale_budget_left_seconds", limit="core_hours")] < 3600
    assert during[sample_key("chorale_forecast_seconds", stage="search")] >= 0
    assert during[sample_key("chorale_resident_memory_bytes", process="driver")] > 2**20
    finalists = [one for one in map(samples_of, first.texts) if _stage(one) == "finalists"]
    assert finalists[0][sample_key("chorale_trials_waiting", stage="finalists")] == 1

    last = first.last
    _check_rows(last, runs)
    values = [row.facts["metrics"]["accuracy"] for row in _rows(runs, "search")]
    assert last[sample_key("chorale_best_objective", objective="accuracy")] == max(values)
    for stage in ("data", "search", "finalists", "ensembles"):
        assert last[sample_key("chorale_stage_seconds", stage=stage)] > 0
    assert last[sample_key("chorale_ledger_commit_seconds_count", durable="true")] > 4
    assert not [name for name, _ in last if name == "chorale_trials_running"]
    _check_labels(first.texts)
    assert not [text for text in first.texts if SECRET in text or str(tmp_path) in text]

    again = watch("resume", "tiny", "--budget.trials", "3", "--runs", str(runs))
    trials = sample_key("chorale_trials", stage="search", state="complete", architecture="cnn")
    epochs = sample_key("chorale_epochs_total", stage="search", architecture="cnn")
    seconds = sample_key("chorale_trial_seconds_count", stage="search")
    assert again.first[trials] == last[trials] == 2
    assert again.first[seconds] == 2
    assert again.first[epochs] == last[epochs] + 1
    assert again.last[trials] == 3
    _check_rows(again.last, runs)


def _stage(samples: dict[Sample, float]) -> str:
    """The current stage."""
    [stage] = [dict(of)["stage"] for (name, of), on in samples.items()
               if name == "chorale_stage" and on]  # fmt: skip
    return stage


def _check_rows(samples: dict[Sample, float], runs: Path) -> None:
    """Counts of training runs, their epochs and seconds are those of the ledger's rows."""
    for stage in ("search", "finalists"):
        rows = _rows(runs, stage)
        assert rows
        counts = Counter(row.state.lower() for row in rows)
        of = {"stage": stage, "architecture": "cnn"}
        assert {
            dict(labels)["state"]: value
            for (name, labels), value in samples.items()
            if name == "chorale_trials" and dict(labels)["stage"] == stage
        } == counts
        n_epochs = sum(row.facts["n_epochs"] for row in rows)
        assert samples[sample_key("chorale_epochs_total", **of)] == n_epochs
        took_s = sum(row.facts["elapsed_s"] for row in rows)
        name = "chorale_trial_seconds"
        assert samples[sample_key(f"{name}_sum", stage=stage)] == pytest.approx(took_s)
        assert samples[sample_key(f"{name}_count", stage=stage)] == len(rows)


def _check_labels(texts: list[str]) -> None:
    """No label has a value that is not a name of the list above, such as a number or a path."""
    for text in texts:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                for label, value in sample.labels.items():
                    assert label == "le" or value in LABEL_VALUES[label], (sample.name, label)
