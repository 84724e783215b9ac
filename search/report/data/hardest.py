"""The tracks that most finalists get wrong, out of fold: mislabelled ones are mostly among them.

Test tracks are left out: who listens to them and then changes something has looked at them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from chorale.search.ledger import predictions
from chorale.search.ledger.reader import Row
from chorale.search.paths import StudyPaths
from chorale.search.ledger.ground_truth import Truth

MOST = 20
"""So many are told."""


@dataclass(frozen=True)
class Hard:
    """One development track, which `n_wrong` of `n_models` finalists name wrongly.

    `said` is the class that they name most, `proba_true` the mean probability of the true one.
    """

    track: str
    true: str
    said: str
    group: str
    n_wrong: int
    n_models: int
    proba_true: float


def hardest(
    paths: StudyPaths, truth: Truth, finals: Mapping[str, Row], *, most: int = MOST
) -> tuple[Hard, ...]:
    """The tracks that most finalists get wrong, the least probable truth first among equals.

    A finalist counts where it was retrained on every fold; its seeds' probabilities are averaged.

    Args:
        paths: where its predictions lie.
        truth: labels and groups.
        finals: the ledger's rows of the finalists.
        most: so many at most.

    Raises:
        UserError: predictions are missing, damaged or of another split.
    """
    split = truth.split
    ids = split.development_ids
    labels = truth.labels(ids)
    proba = [said for n in _numbers(finals) if (said := _said(paths, truth, finals, n)) is not None]
    if not proba:
        return ()
    named = np.stack([said.argmax(axis=1) for said in proba])  # (n_models, n_tracks)
    n_wrong = (named != labels).sum(axis=0)
    true = np.mean([said[np.arange(len(ids)), labels] for said in proba], axis=0)
    order = sorted(np.flatnonzero(n_wrong), key=lambda i: (-n_wrong[i], true[i], ids[i]))
    names = truth.class_names
    return tuple(
        Hard(
            ids[i],
            names[labels[i]],
            names[_most_named(named[:, i], labels[i], len(names))],
            truth.group_of[ids[i]],
            int(n_wrong[i]),
            len(proba),
            float(true[i]),
        )
        for i in order[:most]
    )


def _numbers(finals: Mapping[str, Row]) -> list[int]:
    return sorted({int(key.split("/")[0]) for key in finals})


def _said(
    paths: StudyPaths, truth: Truth, finals: Mapping[str, Row], number: int
) -> np.ndarray | None:
    """What a finalist says of every development track, (n_tracks, n_classes); None if not whole."""
    split = truth.split
    at = {track: i for i, track in enumerate(split.development_ids)}
    total = np.zeros((len(at), len(truth.class_names)))
    times = np.zeros(len(at))
    for key, row in finals.items():
        of, fold, seed = map(int, key.split("/"))
        if of != number or row.state != "COMPLETE":
            continue
        file = paths.finalist(number, fold=fold, seed=seed).predictions
        part = predictions.read(file, {"valid": split.valid_ids(fold)}, split=split.hash)["valid"]
        rows = [at[track] for track in part.track_ids]
        total[rows] += part.proba
        times[rows] += 1
    return None if not times.all() else total / times[:, None]


def _most_named(named: np.ndarray, label: int, n_classes: int) -> int:
    """The wrong class that most models name; of equals the first."""
    votes = np.bincount(named, minlength=n_classes)
    votes[label] = -1
    return int(votes.argmax())
