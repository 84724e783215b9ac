"""Turns a candidate into a `TrialPlan`: its training and validation rows, its seed, its folder."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from chorale.datasets.config import to_plain_values
from chorale.datasets.seeds import Purpose, derive_seed
from chorale.datasets.splitting.split import SEARCH_FOLD
from chorale.lightning_models.train_config import TrainConfig
from chorale.search.config.resolve import ResolvedSweep
from chorale.search.config.space import Candidate
from chorale.search.data.prepare import PreparedData
from chorale.search.ledger.stages import Job
from chorale.search.training.model_cost import ModelLimit
from chorale.search.training.trial_plan import TrialPlan


def plan_trial(
    resolved: ResolvedSweep, prepared: PreparedData, candidate: Candidate, number: int
) -> TrialPlan:
    """The plan of a search trial: validated on one fold, keeping the weights of the best epoch."""
    return _plan(
        resolved,
        prepared,
        candidate,
        fold=SEARCH_FOLD,
        extra_ids=(),
        seed=derive_seed(resolved.sweep.search.seed, Purpose.TRIAL, number),
        keep_best=True,
        folder=resolved.sweep.paths.trial(number).root,
        limit=ModelLimit.of(resolved.sweep, prepared.split.n_folds),
    )


def plan_finalist(
    resolved: ResolvedSweep,
    prepared: PreparedData,
    candidate: Candidate,
    job: Job,
    *,
    max_epochs: int | None = None,
) -> TrialPlan:
    """The plan of a finalist's fold: keeps the last weights, so that the fold chooses nothing.

    `max_epochs` replaces the sweep's number of epochs, where time does not allow so many.
    """
    planned = _plan(
        resolved,
        prepared,
        candidate,
        fold=job.fold,
        extra_ids=prepared.split.test_ids,
        seed=derive_seed(
            resolved.sweep.search.seed, Purpose.FINALIST, job.number, job.fold, job.seed
        ),
        keep_best=False,
        folder=resolved.sweep.paths.finalist(job.number, fold=job.fold, seed=job.seed).root,
    )
    if max_epochs is None:
        return planned
    return replace(planned, train={**planned.train, "max_epochs": max_epochs})


def _plan(
    resolved: ResolvedSweep,
    prepared: PreparedData,
    candidate: Candidate,
    *,
    fold: int,
    extra_ids: Sequence[str],
    seed: int,
    keep_best: bool,
    folder: Path,
    limit: ModelLimit | None = None,
) -> TrialPlan:
    split = prepared.split
    valid_rows = prepared.rows(split.valid_ids(fold))
    labels = prepared.labels
    if prepared.unscored:  # trained on, but not validated
        labels = labels.copy()
        labels[valid_rows] = prepared.scored_labels[valid_rows]
    train = resolved.train_config(candidate)
    return TrialPlan(
        architecture=candidate.architecture,
        config=resolved.network_config(candidate),
        features=candidate.features,
        features_config=to_plain_values(resolved.features[candidate.features]),
        train=to_plain_values(train),
        store=str(prepared.stores[candidate.features].resolve()),
        labels=labels,
        class_names=prepared.class_names,
        train_rows=prepared.rows(split.train_ids(fold)),
        valid_rows=valid_rows,
        extra_rows=prepared.rows(extra_ids),
        seed=seed,
        keep="best" if keep_best else "last",
        objective=resolved.sweep.search.objective,
        measure_latency=resolved.sweep.search.second == "latency_ms",
        limit=limit,
        views=_views(prepared, candidate, train),
        folder=str(folder.absolute()),  # a worker may have another working directory
    )


def _views(prepared: PreparedData, candidate: Candidate, train: TrainConfig) -> tuple[str, ...]:
    """The stores of augmented views that a training draws from, which is none by default."""
    if not train.views:
        return ()
    return tuple(str(one.resolve()) for one in prepared.views.get(candidate.features, ()))
