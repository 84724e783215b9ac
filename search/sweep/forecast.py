"""What a sweep will do before it starts: epochs and architectures that fit the time, and its cost.

With `budget.minutes`, and where the sweep file leaves them open, architectures whose trials would
take too long are left out, and all trials get fewer epochs. `chorale sweep --plan` prints the
forecast, and so does every sweep that is limited in time or large.
"""

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from chorale.search.config.resolve import Choices, ResolvedSweep
from chorale.search.config.schema import MOST_SEEDS, BudgetConfig
from chorale.search.console.progress import Progress, duration_text, durations_text
from chorale.search.data.prepare import PreparedData
from chorale.search.study.schedule import FINALISTS_SHARE, RETRAINING_FACTOR, Schedule
from chorale.search.sweep.speed_probe import Speed, measure_speeds
from chorale.search.sweep.worker_pool import WorkerPool

N_TRIALS_IN_TIME = 8
"""Trials that the search should have time for before slow architectures are admitted."""

EPOCH_STEPS = (1.0, 0.7, 0.5, 0.35, 0.25)
"""The shares of the sweep's epochs that are tried in turn."""

LEAST_FOR_SEVERAL = 0.4
"""The smallest share of the epochs at which several networks of frames are admitted. In 5
minutes of 300 polyphonic clips 30 epochs of half of them, instead of 60 of the quickest two, gave
an mAP 6.7 points above logistic regression instead of 1.1 (one corpus, `bench_multi_label`); with a
third of the epochs, in 3 minutes of the demo, none of them became a finalist."""

MEAN_SHARE_OF_EPOCHS = 0.6
"""The epochs of an average trial: two in three are pruned after a third of theirs."""

MIN_TRACK_EPOCHS = 200_000
"""Smaller sweeps (tracks x epochs x trials) end within a minute or so, and are not forecast."""

PROBE_S = 60.0
PROBE_SHARE = 0.1
"""The most seconds for measuring speeds, and the largest share of the time that is left."""

BYTES_PER_PARAMETER = 4
ALWAYS_S = 15.0
"""Seconds of a sweep besides training: its start, baselines, ensembles, the report."""


@dataclass(frozen=True)
class Forecast:
    """What a sweep will do.

    `max_epochs` are those of every trial; `architectures` are searched, `too_slow` maps those left
    out to the seconds of one trial; `unmeasured` ones failed, or no time was left to measure them.
    `total_s` is the expected wall time of the whole sweep, `disk_bytes` what its checkpoints take,
    `memory_bytes` what all workers take at the same time, None where it is not known. Without
    `trains_networks` no training fits the time: there are baselines only. A trial may take
    `trial_limit_s`. Quick architectures see each track several times in an epoch: `crops`. A
    finalist is trained with `n_seeds` on average.
    """

    speeds: Mapping[str, Speed]
    max_epochs: int
    architectures: tuple[str, ...]
    too_slow: Mapping[str, float]
    unmeasured: tuple[str, ...]
    n_trials: int
    n_finalists: int
    total_s: float
    disk_bytes: int
    memory_bytes: int | None
    trains_networks: bool = True
    trial_limit_s: float = float("inf")
    crops: Mapping[str, int] = field(default_factory=dict)
    n_seeds: int = 1

    @property
    def costs(self) -> dict[str, float]:
        """Architecture -> the seconds of one trial of its first default."""
        return {name: one.epoch_s * self.max_epochs for name, one in self.speeds.items()}

    @property
    def choices(self) -> Choices:
        """The number of epochs, architectures and crops."""
        crops = {name: self.crops[name] for name in self.architectures if name in self.crops}
        return Choices(self.max_epochs, architectures=self.architectures, crops=crops)

    @property
    def _seeds_text(self) -> str:
        return f" with {self.n_seeds} seeds" if self.n_seeds > 1 else ""

    def lines(self) -> list[str]:
        """The forecast for people, the most important line first."""
        if not self.trains_networks:
            return [
                f"about {duration_text(self.total_s)}: no network can be trained in this time, so "
                f"all of it is the baselines'; a higher --budget.minutes also trains networks"
            ]
        each = sorted(self.costs.items(), key=lambda item: item[1])
        kept = [(name, cost) for name, cost in each if name in self.architectures]
        memory = f", {self.memory_bytes / 2**30:.1f} GiB of memory" if self.memory_bytes else ""
        found = [
            f"about {duration_text(self.total_s)}: trials up to {self.n_trials}, epochs "
            f"{self.max_epochs}, finalists {self.n_finalists} on every fold{self._seeds_text}; "
            f"{self.disk_bytes / 2**20:.0f} MiB of checkpoints{memory}",
        ]
        if kept:
            found.append(f"a trial takes {durations_text(dict(kept))}")
        if self.too_slow:
            names = ", ".join(f"{n} ({duration_text(s)} a trial)" for n, s in self.too_slow.items())
            found.append(f"too slow for this budget and left out: {names}")
        if self.unmeasured:
            found.append(f"not measured: {', '.join(self.unmeasured)}")
        return found


def is_worth_a_forecast(budget: BudgetConfig, n_tracks: int) -> bool:
    """Whether a sweep is limited in time, or so large that its speed is measured first."""
    is_large = n_tracks * budget.n_epochs * budget.n_trials >= MIN_TRACK_EPOCHS
    return budget.minutes is not None or is_large


def measured_forecast(
    resolved: ResolvedSweep,
    prepared: PreparedData,
    pool: WorkerPool,
    progress: Progress,
    *,
    began: float,
) -> Forecast:
    """Measures the speed of each architecture, and prints the forecast of the sweep.

    `began` is when the command started, by `time.perf_counter`.
    """
    schedule = Schedule.of(
        resolved.sweep.budget.minutes,
        n_rows=len(prepared.split.development_ids),
        n_classes=len(prepared.class_names),
        wall_s=lambda: time.perf_counter() - began,
    )
    with progress.activity("measuring speed"):
        limit_s = min(PROBE_S, PROBE_SHARE * max(0.0, schedule.left_s()))
        speeds = measure_speeds(resolved, prepared, pool, limit_s=limit_s)
    forecast = make_forecast(resolved, prepared, speeds, schedule, n_at_once=pool.trials_at_once)
    for line in forecast.lines():
        progress.stage("forecast", line)
    return forecast


def make_forecast(
    resolved: ResolvedSweep,
    prepared: PreparedData,
    speeds: Mapping[str, Speed],
    schedule: Schedule,
    *,
    n_at_once: int,
) -> Forecast:
    """The forecast of a sweep that has not started.

    Epochs and architectures that the sweep file sets are kept, whatever they take.
    """
    sweep, n_folds = resolved.sweep, prepared.split.n_folds
    every = resolved.space.architectures
    most = sweep.budget.n_epochs
    is_open = schedule.is_limited and sweep.budget.max_epochs is None
    limits_s = _trial_limits_s(schedule, n_folds, n_at_once)
    epochs, trial_s = most, limits_s[0]
    trains_networks, crops = True, dict[str, int]()
    if is_open:
        frames = _of_frames(resolved, speeds)
        found = _epochs_of_several(most, frames, schedule, n_folds, n_at_once)
        found = found or _epochs_in_time(most, frames, limits_s)
        # the quickest network of tables is a linear model, which the baselines have
        found = found or _epochs_in_time(most, speeds, limits_s, n_wanted=2)
        found = found or _epochs_in_time(most, speeds, limits_s)
        trains_networks = found is not None
        epochs, trial_s = found or (most, trial_s)
        if "crops_per_track" not in sweep.train:
            crops = _crops_in_time(most / epochs, speeds, trial_s / epochs)
        # epochs also validate, so this is a little too much
        speeds = {n: replace(s, epoch_s=s.epoch_s * crops.get(n, 1)) for n, s in speeds.items()}
    costs = {name: epochs * one.epoch_s for name, one in speeds.items()}
    slow: dict[str, float] = {}
    if sweep.architectures is None and costs:
        fastest = min(costs.values())  # it stays, whatever it takes
        slow = {n: cost for n, cost in costs.items() if cost > max(trial_s, fastest)}
    unmeasured = tuple(name for name in every if name not in speeds)
    is_unaffordable = is_open and sweep.architectures is None and len(unmeasured) < len(every)
    dropped = {*slow, *(unmeasured if is_unaffordable else ())}
    kept = tuple(name for name in every if name not in dropped)
    mean_s = epochs * _mean_epoch_s(speeds, kept)
    seed_s = sweep.finalists.n_configs * n_folds * mean_s / n_at_once
    search_s = sweep.budget.n_trials * MEAN_SHARE_OF_EPOCHS * mean_s / n_at_once
    n_trials, n_seeds = sweep.budget.n_trials, sweep.finalists.n_seeds
    if schedule.is_limited and mean_s:
        searching_s = schedule.left_s() * (1 - FINALISTS_SHARE)
        n_trials = min(n_trials, max(1, round(n_trials * min(1.0, searching_s / search_s))))
        if sweep.seeds_by_time:
            spare_s = schedule.left_s() - min(searching_s, search_s)
            every_s = seed_s * sweep.finalists.most_configs / sweep.finalists.n_configs
            n_seeds = min(MOST_SEEDS, max(1, int(spare_s / every_s)))
    final_s = n_seeds * seed_s
    largest = max((one.n_parameters for one in speeds.values()), default=0)
    peaks = [one.peak_bytes for one in speeds.values() if one.peak_bytes is not None]
    n_finalists = sweep.finalists.n_configs
    return Forecast(
        speeds,
        epochs,
        kept,
        slow,
        unmeasured,
        n_trials,
        n_finalists,
        min(schedule.limit_s, ALWAYS_S + search_s + final_s),
        largest * BYTES_PER_PARAMETER * n_finalists * n_folds * n_seeds,
        round(statistics.fmean(peaks)) * n_at_once if peaks else None,
        trains_networks,
        trial_s if is_open else float("inf"),
        crops,
        n_seeds,
    )


def _trial_limits_s(schedule: Schedule, n_folds: int, n_at_once: int) -> tuple[float, float]:
    """The seconds that a trial may take: for a search and some finalists, and for the least.

    The least is one finalist, chosen from as many trials as run at the same time.
    """
    left_s = n_at_once * max(0.0, schedule.left_s())
    search = N_TRIALS_IN_TIME * MEAN_SHARE_OF_EPOCHS + 2 * n_folds
    return left_s / search, left_s / (n_at_once + n_folds)


def _mean_epoch_s(speeds: Mapping[str, Speed], names: Sequence[str]) -> float:
    """The mean seconds of an epoch of these architectures; 0 where none was measured."""
    known = [speeds[name].epoch_s for name in names if name in speeds]
    return statistics.fmean(known) if known else 0.0


def _of_frames(resolved: ResolvedSweep, speeds: Mapping[str, Speed]) -> dict[str, Speed]:
    """Those of the networks that read frames; networks of tables are quick in any case."""
    return {name: one for name, one in speeds.items() if resolved.space.reads_frames(name)}


def _crops_in_time(most: float, speeds: Mapping[str, Speed], epoch_s: float) -> dict[str, int]:
    """Architecture -> how often its epochs of at most `epoch_s` can take each track, up to `most`.

    So a network that trains quickly makes up for the epochs that a slow one has no time for.
    """
    affordable = {name: min(most, epoch_s / one.epoch_s) for name, one in speeds.items()}
    return {name: int(share) for name, share in affordable.items() if share >= 2}


def _epochs_of_several(
    most: int, frames: Mapping[str, Speed], schedule: Schedule, n_folds: int, n_at_once: int
) -> tuple[int, float] | None:
    """The most epochs with which several of the networks of frames can be tried, and the seconds
    that a trial may take.

    Several are the quicker half, or as many of these, two at the least, as keep `LEAST_FOR_SEVERAL`
    of the epochs. Each gets one trial after the baselines, most of which are pruned, and then the
    slowest one is trained on every fold, as the quickest are not the best.
    """
    if not frames:  # of a table
        return None
    left_s = schedule.left_s() - schedule.baselines_s()
    each = sorted(one.epoch_s for one in frames.values())
    half = math.ceil(len(each) / 2)
    for n_networks in range(half, min(half, 2) - 1, -1):
        tried = each[:n_networks]
        search_s = MEAN_SHARE_OF_EPOCHS * sum(tried) / n_at_once
        finalist_s = RETRAINING_FACTOR * math.ceil(n_folds / n_at_once) * tried[-1]
        n = min(most, math.floor(left_s / (search_s + finalist_s)))
        if n >= LEAST_FOR_SEVERAL * most:
            return n, max(n * tried[-1], _trial_limits_s(schedule, n_folds, n_at_once)[0])
    return None


def _epochs_in_time(
    most: int, speeds: Mapping[str, Speed], limits_s: Sequence[float], *, n_wanted: int = 1
) -> tuple[int, float] | None:
    """The most epochs with which `n_wanted` architectures keep to a limit, and that limit.

    A few whole trainings are worth more than many short ones. None where not even the fewest epochs
    of the quickest architectures keep to the last limit.
    """
    each = sorted(one.epoch_s for one in speeds.values())[max(1, n_wanted) - 1 :]
    for share in EPOCH_STEPS:
        n = max(1, round(share * most))
        for limit_s in limits_s:
            if each and n * each[0] <= limit_s:
                return n, limit_s
    return None
