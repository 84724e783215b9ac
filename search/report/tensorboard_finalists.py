"""TensorBoard events of the finalists and the chosen ensemble: confusion matrices and embeddings.

Where tracks have several labels, the matrix is that of `search.statistics.label_confusion`.

Everything is about out-of-fold rows, so that looking at it reveals nothing of the test set. The
events are written at the end of a sweep, and again by `chorale ensemble`.
"""

import struct
import time
from collections.abc import Sequence

import numpy as np

from chorale.datasets.atomic import atomic_write
from chorale.datasets.label_sets import is_known, is_present, join_labels
from chorale.lightning_models.metrics import confusion_matrix
from chorale.search.evaluation.label_thresholds import development_thresholds
from chorale.search.evaluation.members import FittedEnsemble, Member
from chorale.search.ledger.ground_truth import GroundTruth
from chorale.search.paths import StudyPaths, TensorBoardPaths
from chorale.search.report.confusion_image import confusion_image
from chorale.search.report.projector import write_projector
from chorale.search.statistics.arrays import Proba
from chorale.search.statistics.label_confusion import label_confusion
from chorale.search.statistics.thresholds import labels_above

CONFUSION_TAG = "confusion/out_of_fold"
RGB = 3
"""TensorBoard's `colorspace` of RGB images."""
MAX_FINALISTS_SHOWN = 16
"""Finalists with events, best first: a user views no more, and each file has some megabytes."""


def write_finalist_events(
    paths: StudyPaths,
    truth: GroundTruth,
    members: Sequence[Member],
    ensemble: FittedEnsemble,
    *,
    seed: int,
) -> None:
    """Writes the images and the projector's files, replacing earlier ones.

    Args:
        paths: the study's files.
        truth: labels, groups and split of its tracks.
        members: finalists, best first.
        ensemble: the chosen ensemble.
        seed: of the sweep, for the folds of thresholds of several labels.
    """
    n = len(ensemble.weights)
    title = f"{ensemble.kind} ensemble of {n}"
    chosen = ensemble.out_of_fold
    _write_confusion(
        paths.ensemble_tensorboard, truth, chosen, _predicted(truth, chosen, seed), title
    )
    for member in members[:MAX_FINALISTS_SHOWN]:
        files = paths.finalist_tensorboard(int(member.name))
        name = f"trial {member.name}" + f" ({member.architecture})" * bool(member.architecture)
        predicted = _predicted(truth, member.out_of_fold, seed)
        _write_confusion(files, truth, member.out_of_fold, predicted, name)
        if member.embeddings_out_of_fold:
            _write_embeddings(files, truth, member, predicted, name)


def _predicted(truth: GroundTruth, out_of_fold: Proba, seed: int) -> np.ndarray:
    """The class (n_development,) of each track, or which known labels (n_development, n_classes)
    are predicted.
    """
    if not truth.multi_label:
        return np.asarray(out_of_fold.argmax(axis=1))
    thresholds = development_thresholds(out_of_fold, truth, seed=seed)
    return labels_above(out_of_fold, thresholds) & is_known(
        truth.labels(truth.split.development_ids)
    )


def _write_embeddings(
    files: TensorBoardPaths, truth: GroundTruth, member: Member, predicted: np.ndarray, name: str
) -> None:
    """The embeddings of the first seed only, as each seed has another coordinate system."""
    split = truth.split
    ids = split.development_ids
    labels = truth.labels(ids)
    folds = np.array([split.fold_of[track] for track in ids])
    true, guess = _label_texts(truth, labels), _label_texts(truth, predicted)
    columns = {
        "label": true,
        "predicted": guess,
        "right": ["yes" if a == b else "no" for a, b in zip(true, guess, strict=True)],
        "group": [str(group) for group in truth.groups(ids)],
        "fold": [str(fold) for fold in folds],
        "track": list(ids),
    }
    write_projector(files, member.embeddings_out_of_fold[0], folds, labels, columns, name=name)


def _label_texts(truth: GroundTruth, labels: np.ndarray) -> list[str]:
    """The label of each development track; several are joined."""
    names = truth.class_names
    if not truth.multi_label:
        return [names[i] for i in labels]
    return [join_labels(names[i] for i in np.flatnonzero(row)) for row in is_present(labels)]


def _write_confusion(
    files: TensorBoardPaths, truth: GroundTruth, proba: Proba, predicted: np.ndarray, name: str
) -> None:
    """The confusion matrix, as the only image in the folder's event files."""
    labels, names = truth.labels(truth.split.development_ids), truth.class_names
    if truth.multi_label:
        found = label_confusion(predicted, labels)
        n_found, n_labels = np.trace(found.counts), np.trace(found.totals)
        title = f"{name}, out-of-fold: {n_found} of {n_labels} labels found"
        png = confusion_image(found.counts, names, title=title, totals=found.totals)
    else:
        counts = confusion_matrix(proba, labels)
        correct = f"{np.trace(counts)} of {counts.sum()} tracks correct"
        png = confusion_image(counts, names, title=f"{name}, out-of-fold: {correct}")
    before = files.all_events()
    _write_events(files, png)
    for path in before:
        path.unlink(missing_ok=True)


def _write_events(files: TensorBoardPaths, png: bytes) -> None:
    """Writes an event file atomically; TensorBoard's own writer leaves a partial one if stopped."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    now_ns = time.time_ns()
    now_s = now_ns / 1e9
    summary = Summary()
    image = summary.value.add(tag=CONFUSION_TAG).image
    image.encoded_image_string, image.colorspace = png, RGB
    image.width, image.height = struct.unpack(">II", png[16:24])
    with (
        atomic_write(files.events(now_ns), durable=False) as temporary,
        temporary.open("wb") as file,
    ):
        records = RecordWriter(file)
        records.write(Event(file_version="brain.Event:2", wall_time=now_s).SerializeToString())
        records.write(Event(summary=summary, wall_time=now_s, step=0).SerializeToString())
