"""One quick classifier under three protocols: what a careless split would have claimed.

For `chorale data leak`. Works on a feature store, so on audio and on ready tables alike; the locked
test set is not touched.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from chorale.datasets.errors import UserError
from chorale.datasets.seeds import Purpose, generator
from chorale.datasets.splitting.group_split import draw_folds
from chorale.datasets.store.feature_store import FeatureStore
from chorale.search.baselines.track_statistics import Description, statistics
from chorale.search.statistics.intervals import Interval
from chorale.search.statistics.scores import score

Ints = NDArray[np.int64]

SEGMENT_S = 3.0
"""The segment that reports on GTZAN cut their tracks into; where tracks are short, a third of the
median track."""
MAX_SEGMENTS = 12_000
"""More are not needed to see a leak: whole groups are then left out, drawn by the seed."""
MAX_FOLDS = 5
C = 0.1


@dataclass(frozen=True)
class Claim:
    """What one protocol says: the accuracy of single segments, out of fold, and its interval."""

    protocol: str
    accuracy: float
    ci95: Interval
    few_groups: bool


@dataclass(frozen=True)
class Claims:
    """What each protocol says of the same classifier on the same segments."""

    claims: Sequence[Claim]
    n_segments: int
    n_tracks: int
    n_groups: int
    n_folds: int
    segment_s: float
    """0 where segments are the rows of a table"""
    chance: float
    """accuracy of always naming the most frequent class"""


@dataclass(frozen=True)
class Segments:
    """Statistics (n, n_columns) of n segments; their class, track and group numbers (n,)."""

    x: NDArray[np.float64]
    label: Ints
    track: Ints
    group: Ints
    segment_s: float


def claims(
    store: FeatureStore, rows: Ints, *, labels: Ints, groups: NDArray[np.str_], seed: int = 0
) -> Claims:
    """Scores the same classifier with segments shuffled, tracks shuffled, and groups disjoint.

    Logistic regression (Cox 1958, "The Regression Analysis of Binary Sequences") on the means and
    deviations that the baselines read. The intervals draw groups, as everywhere.

    Args:
        store: cached features.
        rows: which of its tracks.
        labels: class of each of those tracks.
        groups: group of each of those tracks.
        seed: of folds and draws.

    Raises:
        UserError: a class has only one group, so that groups cannot be disjoint.
    """
    group = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    cut = _cut(store, rows, labels, group, seed=seed)
    n_folds = _n_folds(cut)
    units = {"segments shuffled": np.arange(len(cut.label)), "tracks shuffled": cut.track}
    if len(np.unique(cut.track)) == len(cut.track):  # nothing was cut, so both are the same
        del units["segments shuffled"]
    if len(np.unique(cut.group)) == len(np.unique(cut.track)):
        raise UserError(
            "each track is a group of its own, so groups disjoint would be the same as tracks "
            "shuffled; say what belongs together (artist, speaker) by the dataset's group setting"
        )
    units["groups disjoint"] = cut.group
    found = []
    for protocol, unit in units.items():
        fold = draw_folds(cut.label, _numbered(unit), n_folds=n_folds, seed=seed)
        proba = _out_of_fold(cut.x, cut.label, fold)
        scores = score(proba, cut.label, cut.group)
        found.append(Claim(protocol, scores.accuracy, scores.ci95, scores.few_groups))
    return Claims(
        found,
        n_segments=len(cut.label),
        n_tracks=len(np.unique(cut.track)),
        n_groups=len(np.unique(cut.group)),
        n_folds=n_folds,
        segment_s=cut.segment_s,
        chance=float(np.bincount(cut.label).max() / len(cut.label)),
    )


def _cut(store: FeatureStore, rows: Ints, labels: Ints, group: Ints, *, seed: int) -> Segments:
    """Cuts each track into segments of equal length; what is left at its end is not used."""
    lengths = store.lengths[rows]
    wanted = min(SEGMENT_S * store.frame_rate_hz, float(np.median(lengths)) / 3)
    n_frames = max(1, round(wanted))
    per_track = np.maximum(1, lengths // n_frames)
    keep = np.flatnonzero(_drawn(group, per_track, seed=seed))
    keep = keep[np.argsort(rows[keep])]  # in the order in which their frames lie
    edges = [
        store.offsets[rows[i]] + np.arange(per_track[i] + 1) * min(n_frames, lengths[i])
        for i in keep
    ]
    # the same frames, where each segment counts as a track; what lies between the last segment of
    # one track and the first of the next counts as one, too, and is not asked for
    cut = replace(store, offsets=np.concatenate(edges))
    is_segment = np.ones(len(cut.offsets), dtype=bool)
    is_segment[np.cumsum([len(of_track) for of_track in edges]) - 1] = False
    x = statistics(cut, np.flatnonzero(is_segment))
    description = Description.of(store)
    if "differences" in description.choices:
        x = x[:, : description.n_columns("differences")]
    return Segments(
        x.astype(np.float64),
        label=np.repeat(labels[keep], per_track[keep]),
        track=np.repeat(keep, per_track[keep]),
        group=np.repeat(group[keep], per_track[keep]),
        segment_s=n_frames / store.frame_rate_hz if store.frame_rate_hz else 0.0,
    )


def _drawn(group: Ints, n_segments: Ints, *, seed: int) -> NDArray[np.bool_]:
    """Which tracks are used: whole groups in random order, until there are enough segments."""
    sizes = np.bincount(group, weights=n_segments)
    order = generator(seed, Purpose.SEGMENTS).permutation(len(sizes))
    before = np.cumsum(sizes[order]) - sizes[order]
    return np.isin(group, order[before < MAX_SEGMENTS])


def _n_folds(cut: Segments) -> int:
    pairs = np.unique(np.stack([cut.label, cut.group]), axis=1)[0]
    fewest = int(np.bincount(pairs)[np.unique(cut.label)].min())
    if fewest < 2:
        raise UserError(
            "a class has only one group among the tracks that are not locked away, so groups "
            "cannot be disjoint; see: chorale data check"
        )
    return min(MAX_FOLDS, fewest)


def _numbered(unit: Ints) -> Ints:
    return np.asarray(np.unique(unit, return_inverse=True)[1], dtype=np.int64)


def _out_of_fold(x: NDArray[np.float64], y: Ints, fold: Ints) -> NDArray[np.float32]:
    """Probabilities (n, n_classes) of each row by a model that was trained on the other folds."""
    proba = np.zeros((len(y), int(y.max()) + 1), np.float32)
    for held_out in np.unique(fold):
        valid = fold == held_out
        model = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=200))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # near enough for this purpose
            model.fit(x[~valid], y[~valid])
        proba[np.ix_(valid, model.classes_)] = model.predict_proba(x[valid])
    return proba
