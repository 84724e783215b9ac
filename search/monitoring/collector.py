"""The metrics of a sweep, made from its monitor at each scrape.

Names follow Prometheus' conventions: base units, and `_total` for counters. The label values are
names of stages, states, architectures, kinds of failures and limits, so they are few; a trial's
number is never one.

Source: Prometheus, "Metric and label naming", https://prometheus.io/docs/practices/naming/.
"""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from chorale.search.ledger.stages import ATTEMPTS, FINALISTS, SEARCH
from chorale.search.monitoring.histogram import DurationHistogram
from chorale.search.monitoring.memory import resident_bytes
from chorale.search.monitoring.monitor import STAGES, SweepMonitor

STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
"""The ledger's state -> the value of the label `state`, as in `chorale status --json`."""

TRIAL_BOUNDS_S = (1, 3, 10, 30, 60, 180, 600, 1800, 3600, 10_800, 36_000)


class SweepCollector(Collector):
    """Makes the metrics of one sweep; called in the threads that answer scrapes."""

    def __init__(self, monitor: SweepMonitor) -> None:
        self._monitor = monitor

    def collect(self) -> Iterator[Metric]:
        """All metrics, each one also while it has no samples."""
        yield from self._trials()
        yield from self._failures()
        yield from self._stages()
        yield from self._budget()
        yield from self._resources()
        yield self._commits()

    def _gauge(self, name: str, text: str, *labels: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(name, text, labels=["study", *labels])

    def _trials(self) -> Iterator[Metric]:
        monitor, study = self._monitor, self._monitor.study
        runs = monitor.ended_runs()
        trials = self._gauge(
            "chorale_trials", "Training runs that have ended: trials of the search, retrainings of "
            "finalists.", "stage", "state", "architecture",
        )  # fmt: skip
        counts = Counter(
            (stage, STATES[run.state], run.architecture)
            for stage, _, run in runs
            if stage != ATTEMPTS
        )
        for of, n in sorted(counts.items()):
            trials.add_metric([study, *of], n)
        yield trials

        running = self._gauge(
            "chorale_trials_running", "Training runs that are running.", "stage", "architecture"
        )
        counts_running = Counter((one.stage, one.architecture) for one in monitor.running_trials())
        for stage_and_kind, n in sorted(counts_running.items()):
            running.add_metric([study, *stage_and_kind], n)
        yield running

        waiting = self._gauge(
            "chorale_trials_waiting", "Training runs of the current stage that have not begun; "
            "no sample where time limits their number.", "stage",
        )  # fmt: skip
        if (n_waiting := monitor.n_waiting()) is not None:
            waiting.add_metric([study, monitor.stage], n_waiting)
        yield waiting

        best = self._gauge(
            "chorale_best_objective", "The best objective of a complete trial, from 0 to 1.",
            "objective",
        )  # fmt: skip
        values = [
            run.value
            for stage, _, run in runs
            if stage == SEARCH and run.state == "COMPLETE" and run.value is not None
        ]
        if values:
            best.add_metric([study, monitor.objective], max(values))
        yield best

        epochs = CounterMetricFamily(
            "chorale_epochs", "Epochs that have ended.", labels=["study", "stage", "architecture"]
        )
        for stage_and_kind, n in sorted(monitor.epochs().items()):
            epochs.add_metric([study, *stage_and_kind], n)
        yield epochs

        seconds = HistogramMetricFamily(
            "chorale_trial_seconds", "Durations of training runs that have ended, and of lost "
            "attempts at them.", labels=["study", "stage"],
        )  # fmt: skip
        for stage in (SEARCH, FINALISTS):
            durations = [
                run.elapsed_s
                for of, key, run in runs
                if run.elapsed_s is not None and _stage_of(of, key) == stage
            ]
            self._add(seconds, DurationHistogram(TRIAL_BOUNDS_S, durations), stage)
        yield seconds

    def _failures(self) -> Iterator[Metric]:
        runs, study = self._monitor.ended_runs(), self._monitor.study
        failures = self._gauge(
            "chorale_trial_failures", "Training runs that have failed, by kind of failure.",
            "stage", "kind",
        )  # fmt: skip
        failed = Counter((stage, run.failure) for stage, _, run in runs if run.state == "FAIL")
        for of, n in sorted(failed.items()):
            failures.add_metric([study, *of], n)
        yield failures
        lost = CounterMetricFamily(
            "chorale_trial_attempts_lost", "Attempts at training runs that ended without a result, "
            "and were retried, by kind of failure.", labels=["study", "stage", "kind"],
        )  # fmt: skip
        attempts = Counter(
            (_stage_of(stage, key), run.failure) for stage, key, run in runs if stage == ATTEMPTS
        )
        for of, n in sorted(attempts.items()):
            lost.add_metric([study, *of], n)
        yield lost

    def _stages(self) -> Iterator[Metric]:
        monitor, study, current = self._monitor, self._monitor.study, self._monitor.stage
        stage = self._gauge(
            "chorale_stage", "1 for the current stage of the sweep, 0 for the others.", "stage"
        )
        for name in STAGES:
            stage.add_metric([study, name], float(name == current))
        yield stage
        seconds = self._gauge(
            "chorale_stage_seconds", "Wall time of each stage so far, in all sessions.", "stage"
        )
        for name, took_s in monitor.stages_s().items():
            seconds.add_metric([study, name], took_s)
        yield seconds
        forecast = self._gauge(
            "chorale_forecast_seconds", "Expected time until the end of the current stage.", "stage"
        )
        if (left_s := monitor.forecast_s()) is not None:
            forecast.add_metric([study, current], left_s)
        yield forecast

    def _budget(self) -> Iterator[Metric]:
        limits, study = self._monitor.budget_s(), self._monitor.study
        text = "wall time (minutes), or time of cores or GPUs (core_hours, gpu_hours)"
        given = self._gauge("chorale_budget_seconds", f"The budget of {text}.", "limit")
        left = self._gauge("chorale_budget_left_seconds", f"What is left of it: {text}.", "limit")
        for name, (given_s, left_s) in limits.items():
            given.add_metric([study, name], given_s)
            left.add_metric([study, name], left_s)
        yield from (given, left)

    def _resources(self) -> Iterator[Metric]:
        monitor, running = self._monitor, self._monitor.running_trials()
        each, n = monitor.resources, monitor.n_at_once
        for what, used, total in (
            ("cores", sum(trial.resources.cpus for trial in running), n * each.cpus),
            ("gpus", sum(trial.resources.gpus for trial in running), n * each.gpus),
        ):
            shown = "CPU cores" if what == "cores" else "GPUs"
            in_use = self._gauge(f"chorale_{what}_in_use", f"{shown} of running training runs.")
            in_use.add_metric([monitor.study], used)
            at_most = self._gauge(
                f"chorale_{what}_available", f"{shown} that training runs may use at once, when "
                f"the workers started.",
            )  # fmt: skip
            at_most.add_metric([monitor.study], total)
            yield from (in_use, at_most)
        memory = self._gauge(
            "chorale_resident_memory_bytes", "Resident memory of the sweep's process (driver), and "
            "of all processes that it started on this machine (workers).", "process",
        )  # fmt: skip
        for process, n_bytes in resident_bytes().items():
            memory.add_metric([monitor.study, process], n_bytes)
        yield memory

    def _commits(self) -> Metric:
        seconds = HistogramMetricFamily(
            "chorale_ledger_commit_seconds", "Durations of the ledger's transactions; durable ones "
            "wait for the disk.", labels=["study", "durable"],
        )  # fmt: skip
        for durable, histogram in self._monitor.commits.items():
            self._add(seconds, histogram, str(durable).lower())
        return seconds

    def _add(self, family: HistogramMetricFamily, histogram: DurationHistogram, label: str) -> None:
        buckets, sum_s = histogram.read()
        family.add_metric([self._monitor.study, label], buckets, sum_s)


def _stage_of(stage: str, key: str) -> str:
    """The stage of a training run; of a lost attempt, that of the run that was attempted."""
    return key.split("/")[0] if stage == ATTEMPTS else stage
