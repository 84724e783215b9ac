"""Class imbalance: class weights, balanced sampling, synthetic rows (SMOTE).

Pure functions; `lightning_models` applies them to the training rows of a fold only.
"""

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.label_sets import UNKNOWN, LabelArray, is_known, is_present
from chorale.datasets.seeds import Purpose, random_generator

Int64Array = NDArray[np.int64]
Float32Array = NDArray[np.float32]

N_NEIGHBOURS = 5
"""A synthetic row is interpolated between a row and one of this many nearest neighbours."""


def class_weights(labels: LabelArray, n_classes: int) -> Float32Array:
    """Loss weights of the classes, inversely proportional to their number of rows.

    The mean over the rows is 1. A class without rows gets 0, so that label smoothing does not pull
    towards it.

    Args:
        labels: (n_rows,), the class index of each row.
        n_classes: how many classes there are.

    Returns:
        (n_classes,).

    Source: King and Zeng 2001, "Logistic Regression in Rare Events Data",
    https://doi.org/10.1093/oxfordjournals.pan.a004868.
    """
    counts = np.bincount(labels, minlength=n_classes)
    present = counts > 0
    weights = np.zeros(n_classes, np.float32)
    weights[present] = len(labels) / (present.sum() * counts[present])
    return weights


def presence_weights(labels: LabelArray) -> Float32Array:
    """The loss weight of each label's presence in multi-label rows: sqrt(n_absent / n_present).

    At the full ratio, rare labels would be predicted far too often. Labels without rows get 1.
    Unknown ones count as neither.

    Args:
        labels: (n_rows, n_classes) of 0, 1 and `UNKNOWN`.

    Returns:
        (n_classes,).
    """
    present, known = is_present(labels).sum(axis=0), is_known(labels).sum(axis=0)
    weights = np.ones(labels.shape[1], np.float32)
    both = (present > 0) & (present < known)
    weights[both] = np.sqrt((known[both] - present[both]) / present[both])
    return weights


def balanced_order(labels: LabelArray, *, n: int, rng: np.random.Generator) -> Int64Array:
    """Draws `n` rows with equal numbers of each present class (they differ by at most one).

    Every row of a class is drawn before any of them is drawn again. Where multi-label, rows are
    drawn for each label in turn; rows that are not known to have any are not drawn.

    Args:
        labels: (n_rows,), the class index of each row, or (n_rows, n_classes) of 0, 1, `UNKNOWN`.
        n: how many rows to draw.
        rng: random generator of the order.

    Returns:
        (n,), row numbers in random order.
    """
    several = labels.ndim == 2
    there = np.flatnonzero(is_present(labels).any(axis=0)) if several else np.unique(labels)
    present = rng.permutation(there)  # the first ones get the remainder
    shares = n // len(present) + (np.arange(len(present)) < n % len(present))
    drawn = []
    for label, share in zip(present, shares, strict=True):
        rows = np.flatnonzero(is_present(labels[:, label]) if several else labels == label)
        rounds = np.tile(rows, (-(-int(share) // len(rows)), 1))
        drawn.append(rng.permuted(rounds, axis=1).ravel()[:share])
    return rng.permutation(np.concatenate(drawn))


def smote(x: Float32Array, labels: LabelArray, seed: int) -> tuple[Float32Array, LabelArray]:
    """SMOTE oversampling: synthetic rows for all classes up to the size of the largest.

    A new row is interpolated between a row and one of its nearest neighbours of the same class, by
    distance in columns that are standardised over all rows of `x`. A class of few rows has fewer
    neighbours; the only row of a class is repeated.

    Args:
        x: (n_rows, n_columns), finite: the rows of a training fold and no others.
        labels: (n_rows,), the class index of each row.
        seed: of the choice of rows, neighbours and interpolation weights.

    Returns:
        the new rows (n_new, n_columns) and their labels (n_new,).

    Source: Chawla et al. 2002, "SMOTE: Synthetic Minority Over-sampling Technique",
    https://doi.org/10.1613/jair.953; by imbalanced-learn (Lemaître et al. 2017).
    """
    from imblearn.over_sampling import SMOTE

    counts = np.bincount(labels)
    n_largest = int(counts.max())
    rare = [int(c) for c in np.flatnonzero(counts) if counts[c] < n_largest]
    new_x, new_labels = [x[:0]], [labels[:0]]
    z, mean, std = _standardised(x)
    for n_neighbours in sorted({min(N_NEIGHBOURS, int(counts[c]) - 1) for c in rare}):
        wanted = {c: n_largest for c in rare if min(N_NEIGHBOURS, counts[c] - 1) == n_neighbours}
        if n_neighbours:
            sampler = SMOTE(sampling_strategy=wanted, k_neighbors=n_neighbours, random_state=seed)
            all_z, all_labels = sampler.fit_resample(z, labels)
            new_x.append(all_z[len(z) :] * std + mean)
            new_labels.append(all_labels[len(z) :])
        else:
            alone = np.repeat([int(np.flatnonzero(labels == c)[0]) for c in wanted], n_largest - 1)
            new_x.append(x[alone])
            new_labels.append(labels[alone])
    return np.concatenate(new_x), np.concatenate(new_labels)


def multi_label_smote(
    x: Float32Array, labels: LabelArray, seed: int
) -> tuple[Float32Array, LabelArray]:
    """SMOTE of multi-label rows: as many synthetic rows for each rare label as it has rows.

    A label is rare if it is rarer than the labels are on average. A new row is interpolated between
    a row with the label and one of its nearest neighbours that have it, too, and gets the labels
    that more than half of the row and all these neighbours have, of those whose label is known;
    where it is of none of them, it is unknown.

    Args:
        x: (n_rows, n_columns), finite: the rows of a training fold and no others.
        labels: (n_rows, n_classes) of 0, 1 and `UNKNOWN`.
        seed: of the choice of neighbours and interpolation weights.

    Returns:
        the new rows (n_new, n_columns) and their labels (n_new, n_classes).

    Source: Charte et al. 2015, "MLSMOTE: Approaching imbalanced multilabel learning through
    synthetic instance generation", doi:10.1016/j.knosys.2015.07.019.
    """
    from scipy.spatial.distance import cdist

    rng = random_generator(seed, Purpose.SYNTHETIC)
    present, known = is_present(labels).astype(np.int64), is_known(labels).astype(np.int64)
    counts = present.sum(axis=0)
    ratios = counts.max() / np.maximum(counts, 1)
    rare = np.flatnonzero((counts > 1) & (ratios > ratios[counts > 0].mean()))
    new_x, new_labels = [x[:0]], [labels[:0]]
    z, _, _ = _standardised(x)
    for label in rare:
        rows = np.flatnonzero(present[:, label])
        n_near = min(N_NEIGHBOURS, len(rows) - 1)
        distances = cdist(z[rows], z[rows])
        np.fill_diagonal(distances, np.inf)
        near = rows[np.argsort(distances, axis=1, kind="stable")[:, :n_near]]  # (n_rows, n_near)
        other = near[np.arange(len(rows)), rng.integers(n_near, size=len(rows))]
        share = rng.random((len(rows), 1), dtype=np.float32)
        votes = present[rows] + present[near].sum(axis=1)
        n_voters = known[rows] + known[near].sum(axis=1)
        new_x.append(x[rows] + share * (x[other] - x[rows]))
        made = np.where(n_voters > 0, votes > n_voters / 2, UNKNOWN)
        new_labels.append(made.astype(labels.dtype))
    return np.concatenate(new_x), np.concatenate(new_labels)


def _standardised(x: Float32Array) -> tuple[Float32Array, Float32Array, Float32Array]:
    """`x` with columns of mean 0 and deviation 1, their mean and deviation; constant ones stay."""
    mean, std = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    std[std < 1e-6 * np.maximum(1.0, np.abs(mean))] = 1.0
    mean, std = mean.astype(np.float32), std.astype(np.float32)
    return (x - mean) / std, mean, std
