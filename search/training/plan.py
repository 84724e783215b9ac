"""Turns a candidate into a training run: which rows train, which validate, where it is kept."""

from collections.abc import Sequence
from pathlib import Path

from chorale.datasets.config import plain
from chorale.datasets.seeds import Purpose, seed_of
from chorale.datasets.splitting.split import SEARCH_FOLD
from chorale.search.config.resolve import Resolved
from chorale.search.config.space import Candidate
from chorale.search.data.prepare import Prepared
from chorale.search.ledger.stages import Job
from chorale.search.training.run_trial import TrialPlan


def plan_trial(
    resolved: Resolved, prepared: Prepared, candidate: Candidate, number: int
) -> TrialPlan:
    """A trial of the search: validated on one fold, the weights of its best epoch kept."""
    return _plan(
        resolved,
        prepared,
        candidate,
        fold=SEARCH_FOLD,
        extra_ids=(),
        seed=seed_of(resolved.sweep.search.seed, Purpose.TRIAL, number),
        keep_best=True,
        folder=resolved.sweep.paths.trial(number).root,
    )


def plan_finalist(
    resolved: Resolved, prepared: Prepared, candidate: Candidate, job: Job
) -> TrialPlan:
    """A finalist's retraining: its last weights kept, so that its fold chooses nothing in it."""
    return _plan(
        resolved,
        prepared,
        candidate,
        fold=job.fold,
        extra_ids=prepared.split.test_ids,
        seed=seed_of(resolved.sweep.search.seed, Purpose.FINALIST, job.number, job.fold, job.seed),
        keep_best=False,
        folder=resolved.sweep.paths.finalist(job.number, fold=job.fold, seed=job.seed).root,
    )


def _plan(
    resolved: Resolved,
    prepared: Prepared,
    candidate: Candidate,
    *,
    fold: int,
    extra_ids: Sequence[str],
    seed: int,
    keep_best: bool,
    folder: Path,
) -> TrialPlan:
    split = prepared.split
    return TrialPlan(
        architecture=candidate.architecture,
        config=plain(resolved.architecture_config(candidate)),
        features=candidate.features,
        features_config=plain(resolved.features[candidate.features]),
        train=plain(resolved.train_config(candidate)),
        store=str(prepared.stores[candidate.features].resolve()),
        labels=prepared.labels,
        class_names=prepared.class_names,
        train_rows=prepared.rows(split.train_ids(fold)),
        valid_rows=prepared.rows(split.valid_ids(fold)),
        extra_rows=prepared.rows(extra_ids),
        seed=seed,
        keep="best" if keep_best else "last",
        objective=resolved.sweep.search.objective,
        measure_latency=resolved.sweep.search.second == "latency_ms",
        folder=str(folder.absolute()),  # a worker may run in a folder of its own
    )
