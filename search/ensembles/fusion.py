"""A small network over the embeddings and probabilities of different networks.

One of the ensembles that `search.evaluation.members` fits on out-of-fold rows. It corrects the
members' mean, and how far its corrections are believed is chosen on groups that it was not fitted
on; where they are worth nothing, it is the soft vote of all. Embeddings are read as likenesses to
the classes, since those of two networks, or of two fold models, lie in spaces of their own
(`search.combining.prototypes`). Where a track has no embeddings, its probabilities alone are read.

Source: late fusion of a picture's and a sequence's network, as in the report "Deep Learning major
project" and in Snoek, Worring and Smeulders 2005, "Early versus Late Fusion in Semantic Video
Analysis", doi:10.1145/1101149.1101236.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.seeds import Purpose, seed_of
from chorale.search.combining.base import Model, Said, best_members, log_proba, other_members
from chorale.search.combining.fusion_net import NAMES, Layers, correction, train
from chorale.search.combining.prototypes import fit_anchors, likeness, own_likeness
from chorale.search.statistics.arrays import Floats, Groups, Labels, check_proba, check_rows
from chorale.search.statistics.group_cuts import cut, held_out
from chorale.search.statistics.softmax import log_softmax, softmax

MAX_MEMBERS = 16
"""More members, beyond the best by log loss, are left out: inputs cost rows."""

N_CUTS = 3
N_NETWORKS = 2
"""Networks of different first weights, whose corrections are averaged."""

BELIEFS = (0.0, 0.25, 0.5, 1.0)
"""What a correction may be multiplied with; nothing first."""


def fit(said: Said, labels: Labels, groups: Groups, seed: int) -> Model:
    """The networks, the class prototypes, and their weight. See `search.combining.base`."""
    check_rows(said.proba, labels, groups, n_dims=3)
    used = best_members(said.proba, labels, MAX_MEMBERS)
    mine = said.members(used)
    n_used = len(used)
    rows = _in_order(mine, labels, groups)
    mine, labels, groups = mine.tracks(rows), labels[rows], groups[rows]

    cuts = cut(labels, groups, seed=seed, n_cuts=N_CUTS)
    losses = np.zeros(len(BELIEFS))
    if cuts.max() > 0:
        for out in held_out(cuts):
            inner = _learn(mine.tracks(~out), labels[~out], groups[~out], seed=seed, n=1)
            base, added = _apply(inner, mine.tracks(out))
            for i, belief in enumerate(BELIEFS):
                log_p = log_softmax(base + belief * added)
                losses[i] -= log_p[np.arange(out.sum()), labels[out]].sum()
    belief = BELIEFS[int(np.argmin(np.round(losses, 6)))]
    arrays = _learn(mine, labels, groups, seed=seed, n=N_NETWORKS)
    n_classes = mine.proba.shape[2]
    arrays |= {"used": used, "belief": np.array([belief]), "n_classes": np.array([n_classes])}
    size = np.abs(arrays["0.hidden"]).sum(axis=1).reshape(n_used, 2).sum(axis=1)
    size += np.abs(arrays["0.direct"]).reshape(n_used, 2).sum(axis=1)
    weights = np.zeros(len(said.proba))
    weights[used] = size / size.sum() * belief + (1 - belief) / n_used
    return Model(weights, arrays, {"belief": belief, "embeddings": bool(said.views)})


def predict(model: Model, said: Said) -> Floats:
    """The members' mean with the corrections. See `search.combining.base.Ensemble`."""
    check_proba(said.proba, n_dims=3)
    if said.proba.shape[::2] != (len(model.weights), int(model.arrays["n_classes"][0])):
        raise other_members(len(model.weights), said)
    base, added = _apply(model.arrays, said.members(model.arrays["used"]))
    return np.asarray(softmax(base + float(model.arrays["belief"][0]) * added))


def _learn(
    said: Said, labels: Labels, groups: Groups, *, seed: int, n: int
) -> dict[str, NDArray[Any]]:
    """Anchors, standardisation and `n` networks, as named arrays."""
    n_classes = said.proba.shape[2]
    alike = own_likeness(said, labels, groups, n_classes=n_classes, seed=seed)
    raw = _inputs(said, alike)
    seen = np.isfinite(raw)
    counts = np.maximum(seen.sum(axis=(0, 1)), 1)
    centre = np.where(seen, raw, 0).sum(axis=(0, 1)) / counts
    scale = np.sqrt((np.where(seen, raw - centre, 0) ** 2).sum(axis=(0, 1)) / counts)
    scale[scale < 1e-9] = 1.0
    x = _standard(raw, centre, scale)
    optional = np.arange(1, x.shape[2], 2)
    found: dict[str, NDArray[Any]] = {"centre": centre, "scale": scale}
    for i in range(n):
        layers = train(
            x, _mean(said), labels, optional=optional, seed=seed_of(seed, Purpose.FUSION, i)
        )
        found |= {f"{i}.{name}": layer for name, layer in layers.items()}
    anchors = fit_anchors(said, labels, n_classes=n_classes)
    return found | {f"anchor.{name}": anchor for name, anchor in anchors.items()}


def _apply(arrays: Any, said: Said) -> tuple[Floats, Floats]:
    """The logits of the members' mean, and the correction: (n_tracks, n_classes) each."""
    prefix = "anchor."
    anchors = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
    raw = _inputs(said, likeness(said, anchors, n_classes=said.proba.shape[2]))
    x = _standard(raw, arrays["centre"], arrays["scale"])
    added: list[NDArray[Any]] = []
    while f"{len(added)}.out" in arrays:
        layers: Layers = {name: arrays[f"{len(added)}.{name}"] for name in NAMES}
        added.append(correction(layers, x))
    return _mean(said), np.mean(added, axis=0)


def _inputs(said: Said, alike: Floats) -> Floats:
    """(n_tracks, n_classes, 2 n_members): each member's log-probability, then its likeness."""
    both = np.stack([log_proba(said.proba), alike], axis=1)  # (members, 2, tracks, classes)
    return np.ascontiguousarray(both.transpose(2, 3, 0, 1).reshape(*both.shape[2:], -1))


def _standard(raw: Floats, centre: Floats, scale: Floats) -> Floats:
    """What is missing becomes 0, the mean."""
    return np.nan_to_num((raw - centre) / scale, nan=0.0)


def _mean(said: Said) -> Floats:
    return log_proba(said.proba.mean(axis=0, dtype=np.float64))


def _in_order(said: Said, labels: Labels, groups: Groups) -> NDArray[np.int64]:
    """An order of the tracks that does not depend on the one in which they came."""
    _, group_of = np.unique(groups, return_inverse=True)
    keys = said.proba[: min(3, len(said.proba))].transpose(0, 2, 1).reshape(-1, len(labels))
    return np.lexsort([*keys, group_of, labels])
