"""What each architecture can do: how its trials ended and what they reached."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from chorale.search.report.data.trials import Trial


@dataclass(frozen=True)
class Ability:
    """One architecture. Its `best`, `median` and `middle` half are those of its finished trials.

    All three are None where none came to its end, `middle` also where only one did.
    `n_parameters` is that of its best trial, `seconds` the median of all its trials.
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
    reached: tuple[tuple[float, bool], ...]


def abilities(trials: Sequence[Trial]) -> tuple[Ability, ...]:
    """One for each architecture, the best first; those without a finished trial are last."""
    found: dict[str, list[Trial]] = {}
    for trial in trials:
        found.setdefault(trial.architecture, []).append(trial)
    every = [_ability(name, mine) for name, mine in found.items()]
    return tuple(sorted(every, key=lambda one: (one.best is None, -(one.best or 0.0), one.name)))


def _ability(name: str, trials: Sequence[Trial]) -> Ability:
    done = [trial for trial in trials if trial.done and trial.value is not None]
    values = [trial.value for trial in done if trial.value is not None]
    best = max(done, key=lambda trial: trial.value or 0.0, default=None)
    seconds = [trial.elapsed_s for trial in trials if trial.elapsed_s is not None]
    quarters = quantiles(values, n=4, method="inclusive") if len(values) > 1 else None
    return Ability(
        name=name,
        n_done=sum(trial.state == "COMPLETE" for trial in trials),
        n_pruned=sum(trial.state == "PRUNED" for trial in trials),
        n_failed=sum(trial.state == "FAIL" for trial in trials),
        best=None if best is None else best.value,
        best_trial=None if best is None else best.number,
        median=median(values) if values else None,
        middle=None if quarters is None else (quarters[0], quarters[2]),
        n_parameters=None if best is None else best.n_parameters,
        seconds=median(seconds) if seconds else None,
        reached=tuple((t.value, t.done) for t in trials if t.value is not None),
    )
