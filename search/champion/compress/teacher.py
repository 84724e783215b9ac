"""What a student is taught: half its labels, half what the ensemble's networks say.

The student of a fold learns from the networks of that fold alone. These have, like it, never heard
the tracks that the fold holds out, so what the student says of them is as honest as what any trial
does. Out-of-fold probabilities would not do for that: they are said of a fold's training tracks by
networks that were trained on the tracks it holds out. The student for use learns from all networks.

Source: Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network",
arXiv:1503.02531.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.errors import UserError
from chorale.datasets.store.feature_store import FeatureStore
from chorale.lightning_models.data.datamodule import Tracks
from chorale.lightning_models.training import checkpoint
from chorale.lightning_models.training.predict import predict
from chorale.search.data.prepare import Prepared
from chorale.search.ledger import predictions
from chorale.search.ledger.stages import Job
from chorale.search.paths import StudyPaths

SHARE = 0.5
"""How much of a target the teacher says; the rest is the label."""


@dataclass(frozen=True)
class Teacher:
    """What the networks of each fold say of the development tracks: (n_development, n_classes).

    Each is the plain mean of the fold's networks, one for each member and seed: weights of an
    ensemble were fitted on what the fold holds out, too.
    """

    of_fold: tuple[NDArray[np.float32], ...]

    @property
    def digest(self) -> str:
        """Changes when anything that is said does."""
        found = hashlib.sha256()
        for said in self.of_fold:
            found.update(np.ascontiguousarray(said, np.float32).tobytes())
        return found.hexdigest()[:12]

    def targets(self, prepared: Prepared, fold: int) -> NDArray[np.float32]:
        """Targets (n_tracks, n_classes) for who is trained without `fold`; none: for the whole.

        Only rows to be trained on have one; all others are NaN, so that nobody can learn of them.

        Args:
            prepared: the tracks.
            fold: what is held out; `split.n_folds` for nothing.
        """
        split = prepared.split
        whole = fold == split.n_folds
        said = np.mean(self.of_fold, axis=0) if whole else self.of_fold[fold]
        ids = split.development_ids if whole else split.train_ids(fold)
        at = {track: i for i, track in enumerate(split.development_ids)}
        rows = prepared.rows(ids)
        hard = np.eye(len(prepared.class_names), dtype=np.float32)[prepared.labels[rows]]
        soft = said[[at[track] for track in ids]]
        targets = np.full((len(prepared.labels), len(prepared.class_names)), np.nan, np.float32)
        targets[rows] = SHARE * soft + (1 - SHARE) * hard
        return targets


def teach(
    paths: StudyPaths,
    prepared: Prepared,
    jobs: Sequence[Sequence[Job]],
    *,
    tell: Callable[[str], None],
) -> Teacher:
    """Asks the networks of a finished study.

    Args:
        paths: of that study.
        prepared: its tracks; of those that are locked away nobody is asked.
        jobs: the retrainings of each member.
        tell: is told how far it is.

    Raises:
        UserError: a network is missing or damaged.
    """
    split = prepared.split
    rows = prepared.rows(split.development_ids)
    all_jobs = [job for mine in jobs for job in mine]
    shape = (len(rows), len(prepared.class_names))
    sums = [np.zeros(shape, np.float64) for _ in range(split.n_folds)]
    counts = [0] * split.n_folds
    for i, job in enumerate(all_jobs, start=1):
        folder = paths.finalist(job.number, fold=job.fold, seed=job.seed).weights
        module, card = checkpoint.load(folder)
        if tuple(card["labels"]) != prepared.class_names:
            raise UserError(
                f"the network in '{folder}' knows other labels than the dataset has now; bring the "
                f"dataset back as it was"
            )
        store = FeatureStore.open(prepared.stores[card["features"]])
        sums[job.fold] += predict(module, Tracks(store), rows).proba
        counts[job.fold] += 1
        tell(f"{i} of {len(all_jobs)} networks asked")
    return Teacher(tuple((s / n).astype(np.float32) for s, n in zip(sums, counts, strict=True)))


def write_teacher(path: Path, teacher: Teacher, prepared: Prepared) -> None:
    """Keeps what was said, so that a student that was broken off goes on with the same."""
    ids = tuple(prepared.split.development_ids)
    parts = {f"fold-{i}": predictions.Part(ids, said) for i, said in enumerate(teacher.of_fold)}
    predictions.write(path, parts, split=prepared.split.hash)


def read_teacher(path: Path, prepared: Prepared) -> Teacher | None:
    """What `write_teacher` kept; None where nothing is.

    Raises:
        UserError: it is damaged or of another split.
    """
    if not path.is_file():
        return None
    split = prepared.split
    names = [f"fold-{i}" for i in range(split.n_folds)]
    parts = predictions.read(path, dict.fromkeys(names, split.development_ids), split=split.hash)
    return Teacher(tuple(parts[name].proba for name in names))
