"""Measures how long each architecture trains: two short epochs of its first default.

The forecast of a sweep, and the choice of what a limit on time allows, follow from this.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from chorale.cluster.base import Decision, End, Outcome, TrialSpec
from chorale.datasets.features import layout_of
from chorale.datasets.seeds import Purpose, random_generator
from chorale.datasets.store.feature_store import FeatureStore
from chorale.lightning_models.distributions import CategoricalDistribution, Distribution
from chorale.search.config.resolve import ResolvedSweep
from chorale.search.config.space import ARCHITECTURE, Candidate, SearchSpace, relative_cost
from chorale.search.data.prepare import PreparedData
from chorale.search.sweep.placing import Placed
from chorale.search.sweep.worker_pool import WorkerPool
from chorale.search.training.plan import plan_trial
from chorale.search.training.run_trial import run_trial
from chorale.search.training.trial_plan import TrialPlan, TrialResult

N_TRAIN_ROWS = 64
N_TABLE_ROWS = 1024
"""Tracks of a probe's epoch: two batches of frames; more of a table, as its steps are short beside
what every epoch takes."""

N_EPOCHS = 2
"""The first epoch of a process also allocates and compiles; the second is measured."""


@dataclass(frozen=True)
class Speed:
    """How long an architecture's first default trains, on one worker.

    `epoch_s` are the seconds of an epoch on the search fold, training and validation; `peak_bytes`
    is the worker's peak memory, None where it was not measured.
    """

    epoch_s: float
    n_parameters: int
    peak_bytes: int | None = None


def measure_speeds(
    resolved: ResolvedSweep, prepared: PreparedData, pool: WorkerPool, *, limit_s: float
) -> dict[str, Speed]:
    """The speed of each architecture of the space, those of the lowest declared cost first.

    That of one on the last blocks of encoders is the speed on the slowest of these.

    Those that fail are left out, as their trials will say why; so are those for which `limit_s`
    seconds did not suffice.
    """
    space = resolved.space
    with TemporaryDirectory(prefix=".probe-", dir=resolved.sweep.runs_folder.root) as scratch:
        plans = {
            (name, features): _probe_plan(
                resolved, prepared, name, features, Path(scratch) / f"{name}-{i}"
            )
            for name in sorted(space.architectures, key=relative_cost)
            for i, features in enumerate(_measured_features(space, name))
        }
        probes = _Probes(plans, limit_s=limit_s)
        pool.runner.run(Placed(probes), run_trial)
    n_all = len(prepared.split.train_ids(0)) + len(prepared.split.valid_ids(0))
    found: dict[str, Speed] = {}
    for key, (measured_s, result) in probes.measured.items():
        plan = plans[key]
        share = n_all / (len(plan.train_rows) + len(plan.valid_rows))
        one = Speed(measured_s * share, result.n_parameters, result.peak_bytes)
        slowest = found.get(key[0])
        if slowest is None or one.epoch_s > slowest.epoch_s:
            found[key[0]] = one
    return found


def _measured_features(space: SearchSpace, architecture: str) -> tuple[str, ...]:
    """The feature sets with which an architecture is measured: that of its first default.

    On the last blocks of encoders all of them: one more block may take several times as long.
    """
    accepted = space.features[architecture]
    if all(layout_of(name) == "block_input" for name in accepted):
        return accepted[::-1]  # of one encoder, the most blocks first
    return (default_candidate(space, architecture).features,)


def _probe_plan(
    resolved: ResolvedSweep,
    prepared: PreparedData,
    architecture: str,
    features: str,
    folder: Path,
) -> TrialPlan:
    """The training run of an architecture's first default on a few tracks of the search fold."""
    candidate = replace(default_candidate(resolved.space, architecture), features=features)
    plan = plan_trial(resolved, prepared, candidate, 0)
    rng = random_generator(resolved.sweep.search.seed, Purpose.SPEED_PROBE)
    is_table = not FeatureStore.open(Path(plan.store)).frame_rate_hz
    n_train = min(N_TABLE_ROWS if is_table else N_TRAIN_ROWS, len(plan.train_rows))
    n_valid = max(1, round(n_train * len(plan.valid_rows) / len(plan.train_rows)))
    return replace(
        plan,
        train_rows=_some(plan.train_rows, n_train, rng),
        valid_rows=_some(plan.valid_rows, n_valid, rng),
        train={**plan.train, "max_epochs": N_EPOCHS},
        folder=str(folder.absolute()),
        measure_latency=False,
        limit=None,
    )


def default_candidate(space: SearchSpace, architecture: str) -> Candidate:
    """The first default of an architecture; the lowest value where the space excludes its own."""
    point = next(one for one in space.defaults() if one[ARCHITECTURE] == architecture)
    return space.candidate(
        lambda name, distribution: point[name] if name in point else _lowest(distribution)
    )


def _lowest(distribution: Distribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    return distribution.low


def _some(rows: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(rng.choice(rows, n, replace=False))


class _Probes:
    """`Trials` over the probes, by architecture and feature set, in their order."""

    def __init__(self, plans: Mapping[tuple[str, str], TrialPlan], *, limit_s: float) -> None:
        self.measured: dict[tuple[str, str], tuple[float, TrialResult]] = {}
        self._plans, self._names = plans, list(plans)
        self._waiting = list(range(len(plans)))
        self._running: set[int] = set()
        self._reported: dict[int, float] = {}
        self._epoch_s: dict[int, float] = {}
        self._limit_s, self._ends_s = limit_s, float("inf")
        """the time begins with the first report: before it, workers import PyTorch"""

    def ask(self, n: int) -> list[TrialSpec]:
        """The next architectures, while time is left."""
        if time.perf_counter() > self._ends_s:
            self._waiting = []
        now, self._waiting = self._waiting[:n], self._waiting[n:]
        self._running |= set(now)
        return [TrialSpec(i, {"plan": self._plans[self._names[i]]}) for i in now]

    def done(self) -> bool:
        """Whether every probe has ended."""
        return not self._waiting and not self._running

    def report(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> Decision:  # noqa: ARG002
        """Measures the time since the last report."""
        now = time.perf_counter()
        self._ends_s = min(self._ends_s, now + self._limit_s)
        if trial_id in self._reported:
            self._epoch_s[trial_id] = now - self._reported[trial_id]
        self._reported[trial_id] = now
        return Decision.CONTINUE if now < self._ends_s else Decision.STOP

    def tell(self, trial_id: int, outcome: Outcome) -> None:
        """Keeps the time of the last epoch; that of the first one where there was no other."""
        self._running.discard(trial_id)
        if outcome.end is End.FAILED:
            return
        result: TrialResult = outcome.value
        epoch_s = self._epoch_s.get(trial_id, result.train_s + result.valid_s)
        self.measured[self._names[trial_id]] = epoch_s, result
