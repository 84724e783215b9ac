"""Members of ensembles, read from the prediction bank, and ensembles fitted on out-of-fold rows.

No network is loaded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chorale.datasets.splitting.split import SEARCH_FOLD, Split
from chorale.search.combining.base import (
    EmbeddingView,
    EnsembleModel,
    MemberName,
    MemberPredictions,
)
from chorale.search.combining.cross_fit import CrossFitted, cross_fit
from chorale.search.ensembles import load_ensemble
from chorale.search.ledger.ground_truth import GroundTruth
from chorale.search.ledger.predictions import read_predictions
from chorale.search.ledger.stages import Job
from chorale.search.paths import StudyPaths
from chorale.search.statistics.scores import json_scores
from chorale.search.statistics.thresholds import Thresholds


@dataclass(frozen=True)
class Member:
    """The predictions of one finalist or one baseline, float32.

    `validation` (n_valid, n_classes) are its search trial's predictions on fold 0, `out_of_fold`
    (n_development, n_classes) those of its fold models for rows that they were not trained on,
    `test` (n_test, n_classes) the mean of its retrainings' predictions, `test_by_network` those of
    each retraining, seed by seed and fold by fold. `embeddings_out_of_fold` holds embeddings
    (n_development, width), one array per seed, `test_embeddings` (n_test, width), one per
    retraining, in the same order; both are empty where the bank has none. `seeds` are those of the
    retrainings, of which members may have different numbers, and `out_of_fold_by_seed` the
    out-of-fold predictions of the networks of each, of which `out_of_fold` is the mean.

    The `test` of a baseline comes from one model of all development rows, not from its fold models.
    A baseline has no search trial: its `validation` is its out-of-fold prediction of fold 0.
    """

    name: MemberName
    validation: np.ndarray
    out_of_fold: np.ndarray
    test: np.ndarray
    architecture: str = ""
    embeddings_out_of_fold: tuple[np.ndarray, ...] = ()
    test_embeddings: tuple[np.ndarray, ...] = ()
    test_by_network: tuple[np.ndarray, ...] = ()
    seeds: tuple[int, ...] = ()
    out_of_fold_by_seed: tuple[np.ndarray, ...] = ()

    def seed_out_of_fold(self, at: int) -> np.ndarray:
        """Out-of-fold predictions by one network per fold; where seeds are fewer, they repeat."""
        if not self.out_of_fold_by_seed:
            return self.out_of_fold
        return self.out_of_fold_by_seed[at % len(self.out_of_fold_by_seed)]

    def networks_test_proba(self, networks: Sequence[int]) -> np.ndarray:
        """The mean of some of its retrainings' predictions of test rows.

        `networks` are numbers: the folds of the first seed, then those of the next. Of a member
        with fewer, the same fold of its own seeds takes a network's place; each counts once.
        """
        if not self.test_by_network:
            return self.test
        own = sorted({at % len(self.test_by_network) for at in networks})
        return np.asarray(np.mean([self.test_by_network[at] for at in own], axis=0))


@dataclass(frozen=True)
class FittedEnsemble:
    """One kind of ensemble, fitted, and its predictions.

    `members` are the names of all members in the model's order. `out_of_fold` and `validation`
    come from cross-fitted models (`nested`), which were not fitted on a row's group, or from the
    model itself where there is only one group; `fitted` are its predictions of its own rows.
    """

    kind: str
    members: tuple[MemberName, ...]
    model: EnsembleModel
    nested: CrossFitted | None
    validation: np.ndarray
    out_of_fold: np.ndarray
    fitted: np.ndarray
    test: np.ndarray

    @property
    def weights(self) -> dict[MemberName, float]:
        """Member -> weight, of members with a weight above 0."""
        each = zip(self.members, self.model.weights, strict=True)
        return {name: float(weight) for name, weight in each if weight > 0}


def read_member(
    paths: StudyPaths, split: Split, number: int, jobs: Sequence[Job], *, architecture: str = ""
) -> Member:
    """Joins the predictions of all retrainings of one finalist.

    Raises:
        UserError: a file is missing, damaged or of another split.
    """
    position = {track: i for i, track in enumerate(split.development_ids)}
    search_part = read_predictions(
        paths.trial(number).predictions, {"valid": split.valid_ids(SEARCH_FOLD)}, split=split.hash
    )
    n_classes = search_part["valid"].proba.shape[1]
    tests = []
    seeds = sorted({job.seed for job in jobs})
    by_seed = {seed: np.zeros((len(position), n_classes), np.float32) for seed in seeds}
    embedded: dict[int, np.ndarray] = {}
    test_embeddings = []
    for job in sorted(jobs, key=lambda job: (job.seed, job.fold)):
        valid_ids = split.valid_ids(job.fold)
        parts = read_predictions(
            paths.finalist(number, fold=job.fold, seed=job.seed).predictions,
            {"valid": valid_ids, "test": split.test_ids},
            split=split.hash,
        )
        rows = [position[track] for track in valid_ids]
        by_seed[job.seed][rows] = parts["valid"].proba
        tests.append(parts["test"].proba)
        of_valid, of_test = parts["valid"].embeddings, parts["test"].embeddings
        if of_valid is not None and of_test is not None:
            empty = np.zeros((len(position), of_valid.shape[1]), np.float32)
            embedded.setdefault(job.seed, empty)[rows] = of_valid
            test_embeddings.append(of_test)
    has_all = len(test_embeddings) == len(jobs)
    return Member(
        number,
        search_part["valid"].proba,
        np.mean(list(by_seed.values()), axis=0),
        np.mean(tests, axis=0),
        architecture,
        tuple(embedded[seed] for seed in seeds) if has_all else (),
        tuple(test_embeddings) if has_all else (),
        tuple(tests),
        tuple(seeds),
        tuple(by_seed.values()),
    )


def fit_ensemble(
    kind: str, members: Sequence[Member], truth: GroundTruth, *, seed: int
) -> FittedEnsemble:
    """Fits one kind of ensemble on the out-of-fold rows of `members`, and cross-fits it.

    Raises:
        UserError: there is no such kind, or the members' predictions are not valid.
    """
    module = load_ensemble(kind, multi_label=truth.multi_label)
    split = truth.split
    ids = split.development_ids
    labels, groups = truth.labels(ids), truth.groups(ids)
    kinds = tuple(m.architecture for m in members)
    development = out_of_fold_predictions(members, split)
    on_test = MemberPredictions(
        np.stack([m.test for m in members]), kinds, _test_views(members, split)
    )
    on_search_fold = MemberPredictions(np.stack([m.validation for m in members]), kinds)

    model = module.fit(development, labels, groups, seed)
    fitted = module.predict(model, development)
    nested = cross_fit(module, development, labels, groups, seed=seed)
    if nested is None:
        out_of_fold, validation = fitted, module.predict(model, on_search_fold)
    else:
        out_of_fold = nested.proba
        at = {track: i for i, track in enumerate(ids)}
        folds = nested.folds[[at[track] for track in split.valid_ids(SEARCH_FOLD)]]
        validation = np.zeros(on_search_fold.proba.shape[1:])
        for fold, one in enumerate(nested.models):
            if (rows := folds == fold).any():
                validation[rows] = module.predict(one, on_search_fold.select_tracks(rows))
    names = tuple(m.name for m in members)
    test = module.predict(model, on_test)
    return FittedEnsemble(kind, names, model, nested, validation, out_of_fold, fitted, test)


def predictions_by_fold(
    one: FittedEnsemble, members: Sequence[Member], truth: GroundTruth
) -> np.ndarray:
    """An ensemble's test predictions by the networks of each fold: (n_folds, n_test, n_classes).

    A baseline whose fold models were not kept, as in older studies, has equal ones for each fold.
    """
    module, split = load_ensemble(one.kind, multi_label=truth.multi_label), truth.split
    found = []
    for fold in range(split.n_folds):
        networks = range(fold, n_networks(members, split), split.n_folds)
        found.append(module.predict(one.model, predictions_by_networks(members, split, networks)))
    return np.stack(found)


def n_networks(members: Sequence[Member], split: Split) -> int:
    """The number of networks of the member with most: one per seed and fold."""
    return max(split.n_folds, *(len(m.test_by_network) for m in members))


def predictions_by_networks(
    members: Sequence[Member], split: Split, networks: Sequence[int]
) -> MemberPredictions:
    """Members' test predictions by the mean of some of their networks.

    `networks` are numbers: the folds of the first seed, then those of the next.
    """
    views = _test_views(members, split)
    return MemberPredictions(
        np.stack([m.networks_test_proba(networks) for m in members]),
        tuple(m.architecture for m in members),
        tuple(views[at] for at in networks if at < len(views)),
    )


def out_of_fold_predictions(members: Sequence[Member], split: Split) -> MemberPredictions:
    """Members' predictions for the development tracks, each by a network that held it out."""
    kinds = tuple(m.architecture for m in members)
    return MemberPredictions(
        np.stack([m.out_of_fold for m in members]), kinds, _views(members, split)
    )


def out_of_fold_by_seed(members: Sequence[Member], split: Split) -> list[MemberPredictions]:
    """`out_of_fold_predictions` by one network of each member, for each seed of the one with most.

    The seeds of a member with fewer repeat.
    """
    kinds, views = tuple(m.architecture for m in members), _views(members, split)
    n_seeds = max(1, *(len(m.seeds) for m in members))
    return [
        MemberPredictions(
            np.stack([m.seed_out_of_fold(seed) for m in members]), kinds, views[seed : seed + 1]
        )
        for seed in range(n_seeds)
    ]


def score_rows(
    proba: np.ndarray,
    track_ids: Sequence[str],
    truth: GroundTruth,
    *,
    thresholds: Thresholds | None = None,
) -> dict[str, Any]:
    """The JSON-ready scores of `proba` (n, n_classes) on the tracks `track_ids` (n).

    `thresholds` are those of multi-label F1 scores.
    """
    labels, groups = truth.labels(track_ids), truth.groups(track_ids)
    scored = truth.scored_classes
    return json_scores(proba, labels, groups, scored=scored, thresholds=thresholds)


def _views(members: Sequence[Member], split: Split) -> tuple[EmbeddingView, ...]:
    """One view per seed: each development track embedded by the network that held it out.

    A member has None in the views of seeds that it lacks.
    """
    fold = np.array([split.fold_of[track] for track in split.development_ids])
    n_seeds = max(len(m.embeddings_out_of_fold) for m in members)
    return tuple(
        EmbeddingView(
            seed * split.n_folds + fold,
            tuple(
                m.embeddings_out_of_fold[seed] if seed < len(m.embeddings_out_of_fold) else None
                for m in members
            ),
        )
        for seed in range(n_seeds)
    )


def _test_views(members: Sequence[Member], split: Split) -> tuple[EmbeddingView, ...]:
    """One view per network; `space` is the number that `_views` gives that network."""
    n_networks = max(len(m.test_embeddings) for m in members)
    return tuple(
        EmbeddingView(
            np.full(len(split.test_ids), space),
            tuple(
                m.test_embeddings[space] if space < len(m.test_embeddings) else None
                for m in members
            ),
        )
        for space in range(n_networks)
    )
