"""A finalist's out-of-fold embeddings for TensorBoard's projector, aligned over folds (Procrustes).

Each track is embedded by the network that was not trained on it. The networks of two folds have
different coordinate systems, so without alignment tracks would cluster by fold. Each fold is
therefore translated, rotated and scaled as a whole until its class means are as near as possible to
those of the other folds, which preserves neighbourhoods within a fold. Test rows are not used.

Source: the orthogonal Procrustes problem, Schönemann 1966, doi:10.1007/BF02289451; towards the mean
of all as in Gower 1975, "Generalized Procrustes Analysis", doi:10.1007/BF02291478.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.atomic import write_text
from chorale.datasets.label_sets import is_present
from chorale.search.paths import TensorBoardPaths
from chorale.search.statistics.arrays import Floats, Labels

MAX_POINTS = 5000
"""The most points that a browser rotates smoothly; more tracks are subsampled evenly."""

N_PROCRUSTES_ROUNDS = 3

MAX_WIDTH = 256
"""Wider embeddings, such as those of pretrained encoders, are reduced to as many principal
components of each space: to rotate 5,060 columns took minutes."""

N_BASIS_ROWS = 512
"""Tracks of a space whose embeddings determine its principal components."""


def write_projector(
    paths: TensorBoardPaths,
    embeddings: NDArray[np.floating[Any]],
    spaces: NDArray[np.integer[Any]],
    labels: Labels,
    columns: Mapping[str, Sequence[str]],
    *,
    name: str,
) -> None:
    """Writes tensors and metadata, and last the config, which never names a missing file.

    Args:
        paths: where the files go.
        embeddings: (n_tracks, width).
        spaces: (n_tracks,) the embedding space of each row: the fold that held it out.
        labels: (n_tracks,) class indices, by which the spaces are aligned, or (n_tracks, n_classes)
            of 0 and 1.
        columns: metadata of each track by column name; points are labelled with the first column.
        name: of the tensor in the projector.
    """
    shown = np.unique(np.linspace(0, len(labels) - 1, min(len(labels), MAX_POINTS)).astype(int))
    points = align_embeddings(embeddings, spaces, labels)[shown]
    row = "\t".join(["%.5g"] * points.shape[1])
    tensors = "".join(f"{row % tuple(point)}\n" for point in points.tolist())
    lines = [columns, *zip(*(np.asarray(c)[shown] for c in columns.values()), strict=True)]
    metadata = "".join("\t".join(map(_cell, line)) + "\n" for line in lines)
    write_text(paths.tensors, tensors, durable=False)
    write_text(paths.metadata, metadata, durable=False)
    write_text(paths.projector_config, _config(paths, name, points.shape), durable=False)


def align_embeddings(
    embeddings: NDArray[np.floating[Any]],
    spaces: NDArray[np.integer[Any]],
    labels: Labels,
) -> Floats:
    """The embeddings, (n_tracks, width), each space translated, rotated and scaled as a whole.

    `width` is at most `MAX_WIDTH`. Ratios of distances within a space are preserved, as far as the
    principal components of wider embeddings preserve them. The rotation of a space ignores classes
    that it lacks. A space whose embeddings are all equal is not scaled.
    """
    parts = {space: spaces == space for space in np.unique(spaces)}
    aligned = np.zeros((len(embeddings), min(embeddings.shape[1], MAX_WIDTH)))
    for rows in parts.values():
        centred = embeddings[rows] - embeddings[rows].mean(axis=0, dtype=np.float64)
        centred = _reduced(centred)
        size = np.sqrt(np.mean(np.sum(centred**2, axis=1)))
        aligned[rows] = centred / size if size > 0 else centred
    if len(parts) == 1:
        return aligned
    of_class = is_present(labels) if labels.ndim == 2 else labels[:, None] == np.unique(labels)
    means = {space: _class_means(aligned, rows, of_class) for space, rows in parts.items()}
    for round_number in range(N_PROCRUSTES_ROUNDS):
        for i, (space, rows) in enumerate(parts.items()):
            # in the first round only to spaces that are aligned already
            targets = [at for at in list(parts)[: i if round_number == 0 else None] if at != space]
            if not targets:
                continue
            others = np.stack([means[at] for at in targets])
            common = np.isfinite(others).any(axis=(0, 2)) & np.isfinite(means[space]).any(axis=1)
            if common.any():
                rotation = _rotation(means[space][common], others[:, common])
                aligned[rows], means[space] = aligned[rows] @ rotation, means[space] @ rotation
    return aligned


def _reduced(centred: Floats) -> Floats:
    """The first `MAX_WIDTH` principal components of points (n, width) of mean 0.

    Unchanged where the points are not wider; padded with zeros where they have fewer components.
    """
    n, width = centred.shape
    if width <= MAX_WIDTH:
        return centred
    some = centred[np.unique(np.linspace(0, n - 1, min(n, N_BASIS_ROWS)).astype(int))]
    variances, vectors = np.linalg.eigh(some @ some.T)  # ascending; fewer rows than columns
    kept = variances > 1e-10 * max(variances[-1], 1e-300)
    basis = some.T @ (vectors[:, kept] / np.sqrt(variances[kept]))
    found = centred @ basis[:, ::-1][:, :MAX_WIDTH]
    return np.pad(found, ((0, 0), (0, MAX_WIDTH - found.shape[1])))


def _class_means(points: Floats, rows: NDArray[np.bool_], of_class: NDArray[np.bool_]) -> Floats:
    """Mean of each class of `of_class` (n_tracks, n_classes) among `rows`, (n_classes, width).

    NaN for a class without rows.
    """
    means = np.full((of_class.shape[1], points.shape[1]), np.nan)
    for i, column in enumerate(of_class.T):
        if (mine := rows & column).any():
            means[i] = points[mine].mean(axis=0)
    return means


def _rotation(mine: Floats, others: Floats) -> Floats:
    """The rotation (or reflection) that brings `mine` (n, width) nearest to the mean of others."""
    from scipy.linalg import orthogonal_procrustes

    rotation, _ = orthogonal_procrustes(mine, np.nanmean(others, axis=0))
    return np.asarray(rotation)


def _cell(value: object) -> str:
    """A value without tabs and newlines, which would shift all following cells of the TSV file."""
    return " ".join(str(value).split()) or "-"


def _config(paths: TensorBoardPaths, name: str, shape: tuple[int, ...]) -> str:
    """The projector's config file as text."""
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    config = ProjectorConfig()
    one = config.embeddings.add()
    one.tensor_name = name
    one.tensor_path, one.metadata_path = paths.tensors.name, paths.metadata.name
    one.tensor_shape.extend(shape)
    return str(text_format.MessageToString(config, as_utf8=True))
