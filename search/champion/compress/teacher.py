"""Knowledge distillation targets: half the labels, half the predictions of the ensemble's networks.

The student of a fold is trained on predictions of that fold's networks only. Like the student, they
were not trained on the tracks that the fold holds out, so the student's predictions for these are
free of leakage, as a trial's are. Out-of-fold predictions would leak: for a fold's training tracks
they come from networks that were trained on the tracks it holds out. The final student is trained
on predictions of all networks.

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
from chorale.datasets.label_sets import UNKNOWN
from chorale.datasets.store.feature_store import FeatureStore
from chorale.lightning_models.data.datamodule import Tracks
from chorale.lightning_models.training import checkpoint
from chorale.lightning_models.training.predict import predict
from chorale.search.data.prepare import PreparedData
from chorale.search.ledger import predictions
from chorale.search.ledger.stages import Job
from chorale.search.paths import StudyPaths

TEACHER_SHARE = 0.5
"""The teacher's share of a target; the rest is the label. Of an unknown label it is all."""


@dataclass(frozen=True)
class Teacher:
    """Predictions of each fold's networks for the development tracks: (n_development, n_classes).

    Each is the unweighted mean over members of the mean over a member's networks of the fold, one
    for each seed: an ensemble's weights were fitted on the tracks that the fold holds out, too.
    """

    of_fold: tuple[NDArray[np.float32], ...]

    @property
    def digest(self) -> str:
        """A hash of all predictions."""
        found = hashlib.sha256()
        for proba in self.of_fold:
            found.update(np.ascontiguousarray(proba, np.float32).tobytes())
        return found.hexdigest()[:12]

    def targets(self, prepared: PreparedData, fold: int) -> NDArray[np.float32]:
        """Targets (n_tracks, n_classes) of the student that is trained without `fold`.

        Only training rows have targets; all others are NaN, so that they cannot be trained on.

        Args:
            prepared: the tracks.
            fold: the fold that is held out; `split.n_folds` for the final student, which holds
                out none.
        """
        split = prepared.split
        final = fold == split.n_folds
        proba = np.mean(self.of_fold, axis=0) if final else self.of_fold[fold]
        ids = split.development_ids if final else split.train_ids(fold)
        at = {track: i for i, track in enumerate(split.development_ids)}
        rows = prepared.rows(ids)
        hard = prepared.labels[rows].astype(np.float32)
        if not prepared.multi_label:
            hard = np.eye(len(prepared.class_names), dtype=np.float32)[prepared.labels[rows]]
        soft = proba[[at[track] for track in ids]]
        targets = np.full((len(prepared.labels), len(prepared.class_names)), np.nan, np.float32)
        mixed = TEACHER_SHARE * soft + (1 - TEACHER_SHARE) * hard
        targets[rows] = np.where(hard == UNKNOWN, soft, mixed)
        return targets


def make_teacher(
    paths: StudyPaths,
    prepared: PreparedData,
    jobs: Sequence[Sequence[Job]],
    *,
    on_progress: Callable[[str], None],
) -> Teacher:
    """Predicts the development tracks with the networks of a finished study.

    Args:
        paths: of that study.
        prepared: its tracks; those of the locked test set are not predicted.
        jobs: the finalist trainings of each member.
        on_progress: gets a line after each network.

    Raises:
        UserError: a network is missing or damaged.
    """
    split = prepared.split
    rows = prepared.rows(split.development_ids)
    all_jobs = [(job, len({one.seed for one in mine})) for mine in jobs for job in mine]
    shape = (len(rows), len(prepared.class_names))
    sums = [np.zeros(shape, np.float64) for _ in range(split.n_folds)]
    for i, (job, n_seeds) in enumerate(all_jobs, start=1):
        folder = paths.finalist(job.number, fold=job.fold, seed=job.seed).weights
        module, card = checkpoint.load_checkpoint(folder)
        if tuple(card["labels"]) != prepared.class_names:
            raise UserError(
                f"the network in '{folder}' was trained on other labels than the dataset has now; "
                f"restore the dataset as it was"
            )
        store = FeatureStore.open(prepared.stores[card["features"]])
        sums[job.fold] += predict(module, Tracks(store), rows).proba / n_seeds
        on_progress(f"{i} of {len(all_jobs)} networks predicted")
    return Teacher(tuple((one / len(jobs)).astype(np.float32) for one in sums))


def write_teacher(path: Path, teacher: Teacher, prepared: PreparedData) -> None:
    """Keeps the predictions, so that an interrupted compression resumes with the same targets."""
    ids = tuple(prepared.split.development_ids)
    parts = {
        f"fold-{i}": predictions.PredictionPart(ids, proba)
        for i, proba in enumerate(teacher.of_fold)
    }
    predictions.write_predictions(
        path, parts, split=prepared.split.hash, multi_label=prepared.multi_label
    )


def read_teacher(path: Path, prepared: PreparedData) -> Teacher | None:
    """Reads what `write_teacher` wrote; None where there is no file.

    Raises:
        UserError: the file is damaged or of another split.
    """
    if not path.is_file():
        return None
    split = prepared.split
    names = [f"fold-{i}" for i in range(split.n_folds)]
    parts = predictions.read_predictions(
        path, dict.fromkeys(names, split.development_ids), split=split.hash
    )
    return Teacher(tuple(parts[name].proba for name in names))
