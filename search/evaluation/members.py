"""Finalists' predictions -> members -> ensembles fitted on out-of-fold rows.

Reads the bank, never a network.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chorale.datasets import plugins
from chorale.datasets.splitting.split import SEARCH_FOLD, Split
from chorale.search import ensembles as ensemble_files
from chorale.search.combining.base import Model, Name, Said, View
from chorale.search.combining.cross_fit import CrossFitted, cross_fit
from chorale.search.ledger import predictions
from chorale.search.ledger.ground_truth import Truth
from chorale.search.ledger.stages import Job
from chorale.search.paths import StudyPaths
from chorale.search.statistics.scores import score


@dataclass(frozen=True)
class Member:
    """One finalist, or one baseline, as the bank knows it, all float32.

    `validation` (n_valid, n_classes) is what its search trial said of fold 0, `out_of_fold`
    (n_development, n_classes) what its fold models said of rows that they had not seen, `test`
    (n_test, n_classes) the mean of its retrainings, `test_by_network` what each of them said, the
    folds of a seed one after another. `seen_out_of_fold` holds embeddings (n_development, width),
    one array a seed, `seen_test` (n_test, width), one a retraining, in the same order; both are
    empty where the bank has none.

    The `test` of a baseline is said by one model of all development rows, none of its fold models.
    It had no search trial: its `validation` is what it said of fold 0 out of fold.
    """

    name: Name
    validation: np.ndarray
    out_of_fold: np.ndarray
    test: np.ndarray
    architecture: str = ""
    seen_out_of_fold: tuple[np.ndarray, ...] = ()
    seen_test: tuple[np.ndarray, ...] = ()
    test_by_network: tuple[np.ndarray, ...] = ()

    def test_of(self, network: int) -> np.ndarray:
        """What the retraining of that number said of test rows; a baseline has but one a fold."""
        if not self.test_by_network:
            return self.test
        return self.test_by_network[network % len(self.test_by_network)]


@dataclass(frozen=True)
class Fitted:
    """One kind of ensemble, and what it says.

    `members` are the names of all members in the model's order. `out_of_fold` and `validation`
    are said by models that had not seen a row's group (`nested` says how), or by the model itself
    where there is but one group; `fitted` is what the model says of the rows it was fitted on.
    """

    kind: str
    members: tuple[Name, ...]
    model: Model
    nested: CrossFitted | None
    validation: np.ndarray
    out_of_fold: np.ndarray
    fitted: np.ndarray
    test: np.ndarray

    @property
    def weights(self) -> dict[Name, float]:
        """Member -> how much it counts; only those that do."""
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
    search_part = predictions.read(
        paths.trial(number).predictions, {"valid": split.valid_ids(SEARCH_FOLD)}, split=split.hash
    )
    n_classes = search_part["valid"].proba.shape[1]
    out_of_fold = np.zeros((len(position), n_classes), np.float32)
    tests = []
    seeds = sorted({job.seed for job in jobs})
    seen: dict[int, np.ndarray] = {}
    seen_test = []
    for job in sorted(jobs, key=lambda job: (job.seed, job.fold)):
        valid_ids = split.valid_ids(job.fold)
        parts = predictions.read(
            paths.finalist(number, fold=job.fold, seed=job.seed).predictions,
            {"valid": valid_ids, "test": split.test_ids},
            split=split.hash,
        )
        rows = [position[track] for track in valid_ids]
        out_of_fold[rows] += parts["valid"].proba / len(seeds)
        tests.append(parts["test"].proba)
        mine, theirs = parts["valid"].embeddings, parts["test"].embeddings
        if mine is not None and theirs is not None:
            whole = seen.setdefault(job.seed, np.zeros((len(position), mine.shape[1]), np.float32))
            whole[rows] = mine
            seen_test.append(theirs)
    has_all = len(seen_test) == len(jobs)
    return Member(
        number,
        search_part["valid"].proba,
        out_of_fold,
        np.mean(tests, axis=0),
        architecture,
        tuple(seen[seed] for seed in seeds) if has_all else (),
        tuple(seen_test) if has_all else (),
        tuple(tests),
    )


def fit(kind: str, members: Sequence[Member], truth: Truth, *, seed: int) -> Fitted:
    """Fits one kind of ensemble on the out-of-fold rows of `members`, and again for each cut.

    Raises:
        UserError: there is no such kind, or what the members said cannot be combined.
    """
    module: Any = plugins.load(ensemble_files, kind, kind="ensemble")
    split = truth.split
    ids = split.development_ids
    labels, groups = truth.labels(ids), truth.groups(ids)
    kinds = tuple(m.architecture for m in members)
    said = said_out_of_fold(members, split)
    tests = Said(np.stack([m.test for m in members]), kinds, _test_views(members, split))
    believed = Said(np.stack([m.validation for m in members]), kinds)

    model = module.fit(said, labels, groups, seed)
    fitted = module.predict(model, said)
    nested = cross_fit(module, said, labels, groups, seed=seed)
    if nested is None:
        out_of_fold, validation = fitted, module.predict(model, believed)
    else:
        out_of_fold = nested.proba
        at = {track: i for i, track in enumerate(ids)}
        cuts = nested.cuts[[at[track] for track in split.valid_ids(SEARCH_FOLD)]]
        validation = np.zeros(believed.proba.shape[1:])
        for number, one in enumerate(nested.models):
            if (rows := cuts == number).any():
                validation[rows] = module.predict(one, believed.tracks(rows))
    names = tuple(m.name for m in members)
    test = module.predict(model, tests)
    return Fitted(kind, names, model, nested, validation, out_of_fold, fitted, test)


def said_by_fold(one: Fitted, members: Sequence[Member], split: Split) -> np.ndarray:
    """What an ensemble says of test rows by the networks of each fold.

    A baseline whose fold models were not kept, as in older studies, says the same for each fold.
    Gives (n_folds, n_test, n_classes).
    """
    module: Any = plugins.load(ensemble_files, one.kind, kind="ensemble")
    found = []
    for fold in range(split.n_folds):
        networks = range(fold, n_networks(members, split), split.n_folds)
        found.append(module.predict(one.model, said_by_networks(members, split, networks)))
    return np.stack(found)


def n_networks(members: Sequence[Member], split: Split) -> int:
    """How many networks each member has: one a seed and fold."""
    return max(split.n_folds, *(len(m.test_by_network) for m in members))


def said_by_networks(members: Sequence[Member], split: Split, networks: Sequence[int]) -> Said:
    """What members say of test rows by the mean of some of their networks.

    These are numbered: the folds of the first seed, then those of the next.
    """
    views = _test_views(members, split)
    return Said(
        np.stack([np.mean([m.test_of(at) for at in networks], axis=0) for m in members]),
        tuple(m.architecture for m in members),
        tuple(views[at] for at in networks if at < len(views)),
    )


def said_out_of_fold(members: Sequence[Member], split: Split) -> Said:
    """What members say of the development tracks, each said by a network that held it out."""
    kinds = tuple(m.architecture for m in members)
    return Said(np.stack([m.out_of_fold for m in members]), kinds, _views(members, split))


def score_rows(proba: np.ndarray, track_ids: Sequence[str], truth: Truth) -> dict[str, Any]:
    """The JSON-ready scores of `proba` (n, n_classes) on the tracks that it is about."""
    labels, groups = truth.labels(track_ids), truth.groups(track_ids)
    return score(proba, labels, groups).as_dict()


def _views(members: Sequence[Member], split: Split) -> tuple[View, ...]:
    """One view a seed: each development track in the space of the network that held it out."""
    fold = np.array([split.fold_of[track] for track in split.development_ids])
    n_seeds = max(len(m.seen_out_of_fold) for m in members)
    return tuple(
        View(
            seed * split.n_folds + fold,
            tuple(m.seen_out_of_fold[seed] if m.seen_out_of_fold else None for m in members),
        )
        for seed in range(n_seeds)
    )


def _test_views(members: Sequence[Member], split: Split) -> tuple[View, ...]:
    """One view a network; its number is the one that `_views` gives its space."""
    n_networks = max(len(m.seen_test) for m in members)
    return tuple(
        View(
            np.full(len(split.test_ids), space),
            tuple(m.seen_test[space] if m.seen_test else None for m in members),
        )
        for space in range(n_networks)
    )
