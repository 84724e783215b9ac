"""Summary statistics of each architecture: trial counts, best, median and interquartile range."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from chorale.search.report.data.trials import TrialSummary


@dataclass(frozen=True)
class ArchitectureSummary:
    """One architecture; `best`, `median` and `middle` (interquartile range) of its finished trials.

    All three are None without a finished trial, `middle` also with only one. `n_parameters` is
    that of the best trial, `seconds` the median duration of all its trials.
    """

    name: str
    n_done: int
    n_pruned: int
    n_failed: int
    best: float | None
    best_trial: int | None
    median: float | None
    middle: tuple[float, float] | None
    n_parameters: int | None
    seconds: float | None


def architecture_summaries(trials: Sequence[TrialSummary]) -> tuple[ArchitectureSummary, ...]:
    """One for each architecture, best first; those without a finished trial are last."""
    by_name: dict[str, list[TrialSummary]] = {}
    for trial in trials:
        by_name.setdefault(trial.architecture, []).append(trial)
    every = [_summary(name, mine) for name, mine in by_name.items()]
    return tuple(sorted(every, key=lambda one: (one.best is None, -(one.best or 0.0), one.name)))


def _summary(name: str, trials: Sequence[TrialSummary]) -> ArchitectureSummary:
    done = [trial for trial in trials if trial.done and trial.value is not None]
    values = [trial.value for trial in done if trial.value is not None]
    best = max(done, key=lambda trial: trial.value or 0.0, default=None)
    seconds = [trial.elapsed_s for trial in trials if trial.elapsed_s is not None]
    quartiles = quantiles(values, n=4, method="inclusive") if len(values) > 1 else None
    return ArchitectureSummary(
        name=name,
        n_done=sum(trial.state == "COMPLETE" for trial in trials),
        n_pruned=sum(trial.state == "PRUNED" for trial in trials),
        n_failed=sum(trial.state == "FAIL" for trial in trials),
        best=None if best is None else best.value,
        best_trial=None if best is None else best.number,
        median=median(values) if values else None,
        middle=None if quartiles is None else (quartiles[0], quartiles[2]),
        n_parameters=None if best is None else best.n_parameters,
        seconds=median(seconds) if seconds else None,
    )
