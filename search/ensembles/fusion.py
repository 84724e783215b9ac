"""Late fusion: a small network over the members' probabilities and embeddings.

It corrects the members' mean. The scale of the correction is chosen on held-out groups; where it
does not help, the scale is 0, and the ensemble is the soft vote of all members. Embeddings enter as
cosine similarities to class prototypes, as the embedding spaces of two networks, or of two fold
models, are unrelated (`search.combining.prototypes`). Tracks without embeddings use probabilities
only.

Source: late fusion of an image network and a sequence network, as in the report "Deep Learning
major project" and in Snoek, Worring and Smeulders 2005, "Early versus Late Fusion in Semantic Video
Analysis", doi:10.1145/1101149.1101236.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.seeds import Purpose, derive_seed
from chorale.search.combining.base import (
    EnsembleModel,
    MemberPredictions,
    best_members,
    log_proba,
    members_mismatch,
)
from chorale.search.combining.fusion_net import LAYER_NAMES, Layers, correction, train_fusion_net
from chorale.search.combining.prototypes import (
    class_similarities,
    fit_prototypes,
    held_out_similarities,
)
from chorale.search.statistics.arrays import Floats, Groups, Labels, check_proba, check_rows
from chorale.search.statistics.inner_folds import held_out_masks, inner_folds
from chorale.search.statistics.softmax import log_softmax, softmax

MAX_FUSED_MEMBERS = 16
"""Only the best members by log loss are used: each input needs rows to be fitted on."""

N_FUSION_FOLDS = 3
N_NETWORKS = 2
"""Networks with different initial weights, whose corrections are averaged."""

CORRECTION_SCALES = (0.0, 0.25, 0.5, 1.0)
"""Candidate factors of the correction; 0, the members' mean, comes first and wins ties."""


def fit(predictions: MemberPredictions, labels: Labels, groups: Groups, seed: int) -> EnsembleModel:
    """Fits networks, class prototypes and the correction's scale. See `search.combining.base`."""
    check_rows(predictions.proba, labels, groups, n_dims=3)
    used = best_members(predictions.proba, labels, MAX_FUSED_MEMBERS)
    mine = predictions.select_members(used)
    n_used = len(used)
    rows = _in_order(mine, labels, groups)
    mine, labels, groups = mine.select_tracks(rows), labels[rows], groups[rows]

    folds = inner_folds(labels, groups, seed=seed, n_folds=N_FUSION_FOLDS)
    losses = np.zeros(len(CORRECTION_SCALES))
    if folds.max() > 0:
        for out in held_out_masks(folds):
            inner = _learn(mine.select_tracks(~out), labels[~out], groups[~out], seed=seed, n=1)
            base, added = _apply(inner, mine.select_tracks(out))
            for i, one in enumerate(CORRECTION_SCALES):
                log_p = log_softmax(base + one * added)
                losses[i] -= log_p[np.arange(out.sum()), labels[out]].sum()
    scale = CORRECTION_SCALES[int(np.argmin(np.round(losses, 6)))]
    arrays = _learn(mine, labels, groups, seed=seed, n=N_NETWORKS)
    n_classes = mine.proba.shape[2]
    arrays |= {"used": used, "belief": np.array([scale]), "n_classes": np.array([n_classes])}
    size = np.abs(arrays["0.hidden"]).sum(axis=1).reshape(n_used, 2).sum(axis=1)
    size += np.abs(arrays["0.direct"]).reshape(n_used, 2).sum(axis=1)
    weights = np.zeros(len(predictions.proba))
    weights[used] = size / size.sum() * scale + (1 - scale) / n_used
    return EnsembleModel(weights, arrays, {"belief": scale, "embeddings": bool(predictions.views)})


def predict(model: EnsembleModel, predictions: MemberPredictions) -> Floats:
    """The members' mean plus the scaled correction. See `search.combining.base.Ensemble`."""
    check_proba(predictions.proba, n_dims=3)
    if predictions.proba.shape[::2] != (len(model.weights), int(model.arrays["n_classes"][0])):
        raise members_mismatch(len(model.weights), predictions)
    base, added = _apply(model.arrays, predictions.select_members(model.arrays["used"]))
    return np.asarray(softmax(base + float(model.arrays["belief"][0]) * added))


def _learn(
    predictions: MemberPredictions, labels: Labels, groups: Groups, *, seed: int, n: int
) -> dict[str, NDArray[Any]]:
    """Class prototypes, standardisation and `n` networks, as named arrays."""
    n_classes = predictions.proba.shape[2]
    similarities = held_out_similarities(
        predictions, labels, groups, n_classes=n_classes, seed=seed
    )
    raw = _inputs(predictions, similarities)
    seen = np.isfinite(raw)
    counts = np.maximum(seen.sum(axis=(0, 1)), 1)
    centre = np.where(seen, raw, 0).sum(axis=(0, 1)) / counts
    scale = np.sqrt((np.where(seen, raw - centre, 0) ** 2).sum(axis=(0, 1)) / counts)
    scale[scale < 1e-9] = 1.0
    scale[~seen.any(axis=(0, 1))] = np.inf  # never seen here: 0 wherever they are seen later
    x = _standard(raw, centre, scale)
    optional = np.arange(1, x.shape[2], 2)
    found: dict[str, NDArray[Any]] = {"centre": centre, "scale": scale}
    for i in range(n):
        layers = train_fusion_net(
            x,
            _mean(predictions),
            labels,
            optional=optional,
            seed=derive_seed(seed, Purpose.FUSION, i),
        )
        found |= {f"{i}.{name}": layer for name, layer in layers.items()}
    prototypes = fit_prototypes(predictions, labels, n_classes=n_classes)
    return found | {f"anchor.{name}": prototype for name, prototype in prototypes.items()}


def _apply(arrays: Any, predictions: MemberPredictions) -> tuple[Floats, Floats]:
    """Log-probabilities of the members' mean, and the correction: (n_tracks, n_classes) each."""
    prefix = "anchor."
    prototypes = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
    raw = _inputs(
        predictions,
        class_similarities(predictions, prototypes, n_classes=predictions.proba.shape[2]),
    )
    x = _standard(raw, arrays["centre"], arrays["scale"])
    added: list[NDArray[Any]] = []
    while f"{len(added)}.out" in arrays:
        layers: Layers = {name: arrays[f"{len(added)}.{name}"] for name in LAYER_NAMES}
        added.append(correction(layers, x))
    return _mean(predictions), np.mean(added, axis=0)


def _inputs(predictions: MemberPredictions, similarities: Floats) -> Floats:
    """(n_tracks, n_classes, 2 n_members): each member's log-probability, then its similarity."""
    both = [log_proba(predictions.proba), similarities]
    stacked = np.stack(both, axis=1)  # (n_members, 2, n_tracks, n_classes)
    return np.ascontiguousarray(stacked.transpose(2, 3, 0, 1).reshape(*stacked.shape[2:], -1))


def _standard(raw: Floats, centre: Floats, scale: Floats) -> Floats:
    """Standardises inputs; missing ones become 0, the mean."""
    return np.nan_to_num((raw - centre) / scale, nan=0.0)


def _mean(predictions: MemberPredictions) -> Floats:
    return log_proba(predictions.proba.mean(axis=0, dtype=np.float64))


def _in_order(predictions: MemberPredictions, labels: Labels, groups: Groups) -> NDArray[np.int64]:
    """An order of the tracks that does not depend on the order of the arguments."""
    _, group_of = np.unique(groups, return_inverse=True)
    first = predictions.proba[: min(3, len(predictions.proba))]
    keys = first.transpose(0, 2, 1).reshape(-1, len(labels))
    return np.lexsort([*keys, group_of, labels])
