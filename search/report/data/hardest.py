"""Hardest tracks: development tracks that most finalists misclassify out of fold.

Mislabelled tracks are often among them. Test tracks are left out: listening to them and then
changing something would amount to an evaluation on the test set.

Where tracks have several labels, the hardest are those of the highest log loss: a track with many
labels has many that may be missed, so the number of models that are wrong says little.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from chorale.datasets.label_sets import is_known, is_present
from chorale.lightning_models.metrics import log_losses
from chorale.search.ledger import predictions
from chorale.search.ledger.ground_truth import GroundTruth
from chorale.search.ledger.reader import Row
from chorale.search.ledger.stages import complete_seeds
from chorale.search.paths import StudyPaths

MAX_HARDEST_TRACKS = 20
"""Rows of the table."""


@dataclass(frozen=True)
class HardTrack:
    """One development track that `n_wrong` of `n_models` finalists misclassify.

    `predicted` is the wrong class that most of them predict, `proba_true` the mean probability of
    the true class.
    """

    track: str
    true: str
    predicted: str
    group: str
    n_wrong: int
    n_models: int
    proba_true: float

    def as_json(self) -> dict[str, Any]:
        """The track as `report.json` holds it, with `predicted` as the key "said"."""
        return {"said" if k == "predicted" else k: v for k, v in asdict(self).items()}


@dataclass(frozen=True)
class HardLabelTrack:
    """One development track of several labels, of a high log loss `loss` (nats per label).

    `true` are its labels, `missed` those of them that the mean of the `n_models` finalists does not
    predict, `wrong` the ones that it predicts and the track does not have.
    """

    track: str
    true: tuple[str, ...]
    missed: tuple[str, ...]
    wrong: tuple[str, ...]
    group: str
    n_models: int
    loss: float

    def as_json(self) -> dict[str, Any]:
        """The track as `report.json` holds it."""
        return asdict(self)


def hardest_tracks(
    paths: StudyPaths,
    truth: GroundTruth,
    finals: Mapping[str, Row],
    *,
    most: int = MAX_HARDEST_TRACKS,
    seed: int = 0,
) -> tuple[HardTrack, ...] | tuple[HardLabelTrack, ...]:
    """The tracks that most finalists misclassify; ties are ordered by the true class's probability.

    Where tracks have several labels, those with a wrong or missed one, of the highest log loss.

    Only finalists that were retrained on every fold count; probabilities are averaged over seeds.

    Args:
        paths: where the predictions are stored.
        truth: labels and groups.
        finals: the ledger's rows of the finalists.
        most: the largest number of tracks.
        seed: of the sweep, for the folds of thresholds of several labels.

    Raises:
        UserError: predictions are missing, damaged or of another split.
    """
    split = truth.split
    ids = split.development_ids
    labels = truth.labels(ids)
    complete = complete_seeds(finals, split.n_folds)
    probas = [_out_of_fold(paths, truth, number, seeds) for number, seeds in complete.items()]
    if not probas:
        return ()
    if truth.multi_label:
        return _hardest_of_labels(np.mean(probas, axis=0), len(probas), truth, most, seed)
    predicted = np.stack([proba.argmax(axis=1) for proba in probas])  # (n_models, n_tracks)
    n_wrong = (predicted != labels).sum(axis=0)
    proba_true = np.mean([proba[np.arange(len(ids)), labels] for proba in probas], axis=0)
    order = sorted(np.flatnonzero(n_wrong), key=lambda i: (-n_wrong[i], proba_true[i], ids[i]))
    names = truth.class_names
    return tuple(
        HardTrack(
            ids[i],
            names[labels[i]],
            names[_most_frequent_error(predicted[:, i], labels[i], len(names))],
            truth.group_of[ids[i]],
            int(n_wrong[i]),
            len(probas),
            float(proba_true[i]),
        )
        for i in order[:most]
    )


def _hardest_of_labels(
    proba: np.ndarray, n_models: int, truth: GroundTruth, most: int, seed: int
) -> tuple[HardLabelTrack, ...]:
    """`hardest_tracks` by mean probabilities `proba` (n_tracks, n_classes)."""
    # imported here: slow, and not needed for tracks of one class
    from chorale.search.evaluation.label_thresholds import development_thresholds
    from chorale.search.statistics.thresholds import labels_above

    ids = truth.split.development_ids
    labels = truth.labels(ids)
    present = is_present(labels)
    chosen = labels_above(proba, development_thresholds(proba, truth, seed=seed))
    predicted = chosen & is_known(labels)
    losses = log_losses(proba, labels)
    failed = np.flatnonzero((predicted != present).any(axis=1))
    order = sorted(failed, key=lambda i: (-losses[i], ids[i]))

    def names(row: np.ndarray) -> tuple[str, ...]:
        return tuple(truth.class_names[i] for i in np.flatnonzero(row))

    return tuple(
        HardLabelTrack(
            ids[i],
            names(present[i]),
            names(present[i] & ~predicted[i]),
            names(predicted[i] & ~present[i]),
            truth.group_of[ids[i]],
            n_models,
            float(losses[i]),
        )
        for i in order[:most]
    )


def _out_of_fold(
    paths: StudyPaths, truth: GroundTruth, number: int, seeds: Sequence[int]
) -> np.ndarray:
    """A finalist's out-of-fold probabilities, (n_tracks, n_classes)."""
    split = truth.split
    at = {track: i for i, track in enumerate(split.development_ids)}
    total = np.zeros((len(at), len(truth.class_names)))
    for seed, fold in itertools.product(seeds, range(split.n_folds)):
        file = paths.finalist(number, fold=fold, seed=seed).predictions
        part = predictions.read_predictions(
            file, {"valid": split.valid_ids(fold)}, split=split.hash
        )["valid"]
        total[[at[track] for track in part.track_ids]] += part.proba
    return total / len(seeds)


def _most_frequent_error(predicted: np.ndarray, label: int, n_classes: int) -> int:
    """The wrong class that most models predict; the first one among ties."""
    votes = np.bincount(predicted, minlength=n_classes)
    votes[label] = -1
    return int(votes.argmax())
