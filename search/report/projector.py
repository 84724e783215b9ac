"""Writes a finalist's out-of-fold embeddings for TensorBoard's projector.

Each track is seen by the network that was not trained on it. The networks of two folds see in axes
of their own, so that stacked as they are, tracks would lie together by fold. Each fold is therefore
moved, turned and scaled as a whole until its class means lie as near to those of the others as they
can: what lies near what inside of a fold stays as the network sees it. Test rows play no part.

Source: the orthogonal Procrustes problem, Schönemann 1966, doi:10.1007/BF02289451; towards the mean
of all as in Gower 1975, "Generalized Procrustes Analysis", doi:10.1007/BF02291478.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.atomic import write_text
from chorale.search.paths import BoardPaths
from chorale.search.statistics.arrays import Floats, Labels

MAX_POINTS = 5000
"""A browser turns no more points than that smoothly; of more tracks, every so many-th is shown."""

N_ROUNDS = 3


def write_projector(
    paths: BoardPaths,
    embeddings: NDArray[np.floating[Any]],
    spaces: NDArray[np.integer[Any]],
    labels: Labels,
    columns: Mapping[str, Sequence[str]],
    *,
    name: str,
) -> None:
    """Writes the config last, so that it never names what is not there.

    Args:
        paths: where the files go.
        embeddings: (n_tracks, width).
        spaces: (n_tracks,) in whose space each row lies: the fold that held it out.
        labels: (n_tracks,) class indices, to lay the spaces over one another.
        columns: what is said of each track, by the column's name; the first is what points are
            labelled with.
        name: what the projector calls it all.
    """
    shown = np.unique(np.linspace(0, len(labels) - 1, min(len(labels), MAX_POINTS)).astype(int))
    points = lay_over(embeddings, spaces, labels)[shown]
    row = "\t".join(["%.5g"] * points.shape[1])
    tensors = "".join(f"{row % tuple(point)}\n" for point in points.tolist())
    lines = [columns, *zip(*(np.asarray(c)[shown] for c in columns.values()), strict=True)]
    metadata = "".join("\t".join(map(_cell, line)) + "\n" for line in lines)
    write_text(paths.tensors, tensors, durable=False)
    write_text(paths.metadata, metadata, durable=False)
    write_text(paths.projector_config, _config(paths, name, points.shape), durable=False)


def lay_over(
    embeddings: NDArray[np.floating[Any]],
    spaces: NDArray[np.integer[Any]],
    labels: Labels,
) -> Floats:
    """The embeddings, (n_tracks, width), each space moved, turned and scaled as a whole.

    Distances inside of a space keep their ratios. A class that a space lacks has no part in how
    that one is turned. Where the networks say the same of everything, nothing is scaled.
    """
    parts = {space: spaces == space for space in np.unique(spaces)}
    found = np.zeros(embeddings.shape)
    for rows in parts.values():
        centred = embeddings[rows] - embeddings[rows].mean(axis=0, dtype=np.float64)
        size = np.sqrt(np.mean(np.sum(centred**2, axis=1)))
        found[rows] = centred / size if size > 0 else centred
    if len(parts) == 1:
        return found
    classes = np.unique(labels)
    means = {space: _means(found, rows, labels, classes) for space, rows in parts.items()}
    for round_number in range(N_ROUNDS):
        for i, (space, rows) in enumerate(parts.items()):
            # at first to those that have their place already
            rivals = [at for at in list(parts)[: i if round_number == 0 else None] if at != space]
            if not rivals:
                continue
            others = np.stack([means[at] for at in rivals])
            there = np.isfinite(others).any(axis=(0, 2)) & np.isfinite(means[space]).any(axis=1)
            if there.any():
                turn = _turn(means[space][there], others[:, there])
                found[rows], means[space] = found[rows] @ turn, means[space] @ turn
    return found


def _means(points: Floats, rows: NDArray[np.bool_], labels: Labels, classes: Labels) -> Floats:
    """Each class's mean among `rows`, (n_classes, width); NaN where there is none."""
    means = np.full((len(classes), points.shape[1]), np.nan)
    for i, one in enumerate(classes):
        if (mine := rows & (labels == one)).any():
            means[i] = points[mine].mean(axis=0)
    return means


def _turn(mine: Floats, others: Floats) -> Floats:
    """The rotation (or reflection) that brings `mine` (n, width) nearest to the mean of others."""
    target = np.nanmean(others, axis=0)
    u, _, vt = np.linalg.svd(mine.T @ target)
    return np.asarray(u @ vt)


def _cell(value: object) -> str:
    """A value that stays inside of its cell: tabs and ends of lines would shift all that follow."""
    return " ".join(str(value).split()) or "-"


def _config(paths: BoardPaths, name: str, shape: tuple[int, ...]) -> str:
    """The text that TensorBoard's projector reads."""
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    config = ProjectorConfig()
    one = config.embeddings.add()
    one.tensor_name = name
    one.tensor_path, one.metadata_path = paths.tensors.name, paths.metadata.name
    one.tensor_shape.extend(shape)
    return str(text_format.MessageToString(config, as_utf8=True))
