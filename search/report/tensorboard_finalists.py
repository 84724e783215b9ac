"""What TensorBoard shows of finalists and of the headline's ensemble, beside curves and HParams.

A confusion matrix each, and of finalists their embeddings for the projector; all of it about
out-of-fold rows, so that no one who looks at it looks at the test set.
`search.evaluation.final_evaluation` has it written at the end of a sweep, and again whenever
ensembles are made anew.
"""

import struct
import time
from collections.abc import Sequence

import numpy as np

from chorale.datasets.atomic import atomic
from chorale.lightning_models.metrics import confusion_matrix
from chorale.search.evaluation.members import Fitted, Member
from chorale.search.ledger.ground_truth import Truth
from chorale.search.paths import BoardPaths, StudyPaths
from chorale.search.report.confusion_image import confusion_image
from chorale.search.report.projector import write_projector
from chorale.search.statistics.arrays import Proba

TAG = "confusion/out_of_fold"
RGB = 3
"""TensorBoard's number for it."""
MOST_SHOWN = 16
"""So many finalists, the best first: nobody leafs through more, and each is a file of megabytes."""


def write_board(
    paths: StudyPaths, truth: Truth, members: Sequence[Member], headline: Fitted
) -> None:
    """Writes the pictures and the projector's files; those of an earlier time are replaced.

    Args:
        paths: the study's files.
        truth: about its tracks.
        members: finalists, the best first.
        headline: the ensemble that the report is about.
    """
    n = len(headline.weights)
    title = f"the {headline.kind} ensemble of {n}"
    _picture(paths.ensemble_board, truth, headline.out_of_fold, title)
    for member in members[:MOST_SHOWN]:
        board = paths.finalist_board(int(member.name))
        name = f"trial {member.name}" + f" ({member.architecture})" * bool(member.architecture)
        _picture(board, truth, member.out_of_fold, name)
        if member.seen_out_of_fold:
            _project(board, truth, member, name)


def _project(board: BoardPaths, truth: Truth, member: Member, name: str) -> None:
    """The embeddings of the first seed: those of another lie in axes of their own again."""
    split = truth.split
    ids = split.development_ids
    labels, said = truth.labels(ids), member.out_of_fold.argmax(axis=1)
    folds = np.array([split.fold_of[track] for track in ids])
    names = truth.class_names
    columns = {
        "label": [names[i] for i in labels],
        "said": [names[i] for i in said],
        "right": ["yes" if ok else "no" for ok in labels == said],
        "group": [str(group) for group in truth.groups(ids)],
        "fold": [str(fold) for fold in folds],
        "track": list(ids),
    }
    write_projector(board, member.seen_out_of_fold[0], folds, labels, columns, name=name)


def _picture(board: BoardPaths, truth: Truth, proba: Proba, name: str) -> None:
    """The confusion matrix, as the only picture in the folder's event files."""
    labels = truth.labels(truth.split.development_ids)
    counts = confusion_matrix(proba, labels)
    right = f"{np.trace(counts)} of {counts.sum()} tracks right"
    png = confusion_image(counts, truth.class_names, title=f"{name}, out of fold: {right}")
    before = board.all_events()
    _write_events(board, png)
    for path in before:
        path.unlink(missing_ok=True)


def _write_events(board: BoardPaths, png: bytes) -> None:
    """A whole event file at once.

    TensorBoard's own writer would leave half of one behind where it is interrupted.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    now_ns = time.time_ns()
    now_s = now_ns / 1e9
    summary = Summary()
    picture = summary.value.add(tag=TAG).image
    picture.encoded_image_string, picture.colorspace = png, RGB
    picture.width, picture.height = struct.unpack(">II", png[16:24])
    with atomic(board.events(now_ns), durable=False) as temporary, temporary.open("wb") as file:
        records = RecordWriter(file)
        records.write(Event(file_version="brain.Event:2", wall_time=now_s).SerializeToString())
        records.write(Event(summary=summary, wall_time=now_s, step=0).SerializeToString())
