"""Measures leakage: the accuracy of one quick classifier under three cross-validation protocols.

Where tracks have several labels, its mAP: one classifier for each label.

For `chorale data leak`. It shows how much splits by segment or by track inflate the accuracy. It
works on a feature store, so on audio and on feature tables; the locked test set is not used.
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
from chorale.datasets.label_sets import is_known, is_present
from chorale.datasets.seeds import Purpose, random_generator
from chorale.datasets.splitting.group_split import class_count, draw_folds, group_counts
from chorale.datasets.store.feature_store import FeatureStore
from chorale.search.baselines.track_statistics import StatisticsLayout, track_statistics
from chorale.search.statistics.arrays import Labels, Proba
from chorale.search.statistics.intervals import Interval
from chorale.search.statistics.main_score import main_score_of
from chorale.search.statistics.scores import json_scores

Ints = NDArray[np.int64]

SEGMENT_S = 3.0
"""The segment length of most GTZAN publications; where tracks are short, a third of the median
track."""
MAX_SCORED_SEGMENTS = 12_000
"""Above this, random groups are left out: more are not needed to measure leakage."""
MAX_FOLDS = 5
INVERSE_L2_STRENGTH = 0.1


@dataclass(frozen=True)
class ProtocolScore:
    """The out-of-fold accuracy (or mAP) of single segments under one protocol, with interval."""

    protocol: str
    value: float
    ci95: Interval
    few_groups: bool


@dataclass(frozen=True)
class ProtocolComparison:
    """The scores of the same classifier on the same segments under each protocol."""

    scores: Sequence[ProtocolScore]
    n_segments: int
    n_tracks: int
    n_groups: int
    n_folds: int
    segment_s: float
    """0 where segments are the rows of a table"""
    chance: float
    """accuracy of always naming the most frequent class; mAP of a random order"""
    metric: str = "accuracy"
    """what the values are: accuracy or mAP"""


@dataclass(frozen=True)
class Segments:
    """Statistics (n, n_columns) of n segments; their class, track and group numbers (n,).

    Of several labels, `label` is (n, n_classes) of 0, 1 and `UNKNOWN`.
    """

    x: NDArray[np.float64]
    label: Labels
    track: Ints
    group: Ints
    segment_s: float


def compare_protocols(
    store: FeatureStore, rows: Ints, *, labels: Labels, groups: NDArray[np.str_], seed: int = 0
) -> ProtocolComparison:
    """Scores the same classifier with segments shuffled, tracks shuffled, and groups disjoint.

    Logistic regression (Cox 1958, "The Regression Analysis of Binary Sequences") on the means and
    standard deviations that the baselines use. The intervals account for groups.

    Args:
        store: cached features.
        rows: positions of the tracks to use.
        labels: class of each of those tracks, or (n_tracks, n_classes) of 0, 1 and `UNKNOWN`.
        groups: group of each of those tracks.
        seed: of folds and random draws.

    Raises:
        UserError: a class has only one group, so that groups cannot be disjoint.
    """
    group = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    cut = _cut(store, rows, labels, group, seed=seed)
    n_folds = _n_folds(cut)
    units = {"segments shuffled": np.arange(len(cut.label)), "tracks shuffled": cut.track}
    if len(np.unique(cut.track)) == len(cut.track):  # one segment per track: both are the same
        del units["segments shuffled"]
    if len(np.unique(cut.group)) == len(np.unique(cut.track)):
        raise UserError(
            "each track is a group of its own, so groups disjoint would be the same as tracks "
            "shuffled; give each track's artist or speaker by the dataset's group setting"
        )
    units["groups disjoint"] = cut.group
    found = []
    for protocol, unit in units.items():
        fold = draw_folds(cut.label, _numbered(unit), n_folds=n_folds, seed=seed)
        proba = _out_of_fold(cut.x, cut.label, fold)
        found.append(_scored(protocol, proba, cut))
    return ProtocolComparison(
        found,
        n_segments=len(cut.label),
        n_tracks=len(np.unique(cut.track)),
        n_groups=len(np.unique(cut.group)),
        n_folds=n_folds,
        segment_s=cut.segment_s,
        chance=_chance(cut.label),
        metric="mAP" if cut.label.ndim == 2 else "accuracy",
    )


def _scored(protocol: str, proba: Proba, cut: Segments) -> ProtocolScore:
    found = json_scores(proba, cut.label, cut.group)
    return ProtocolScore(protocol, main_score_of(found), found["ci95"], found["few_groups"])


def _chance(label: Labels) -> float:
    if label.ndim == 2:
        present = is_present(label)
        used = is_known(label) & present.any(axis=0)
        return float(present[used].mean())
    return float(np.bincount(label).max() / len(label))


def _cut(store: FeatureStore, rows: Ints, labels: Labels, group: Ints, *, seed: int) -> Segments:
    """Cuts each track into segments of equal length; the rest at its end is not used."""
    lengths = store.lengths[rows]
    wanted = min(SEGMENT_S * store.frame_rate_hz, float(np.median(lengths)) / 3)
    n_frames = max(1, round(wanted))
    per_track = np.maximum(1, lengths // n_frames)
    keep = np.flatnonzero(_drawn(group, per_track, seed=seed))
    keep = keep[np.argsort(rows[keep])]  # in the order of their frames in the store
    edges = [
        store.offsets[rows[i]] + np.arange(per_track[i] + 1) * min(n_frames, lengths[i])
        for i in keep
    ]
    # a view of the store with one track per segment; the frames between the last segment of a track
    # and the first of the next form one, too, which is not used
    cut = replace(store, offsets=np.concatenate(edges))
    is_segment = np.ones(len(cut.offsets), dtype=bool)
    is_segment[np.cumsum([len(of_track) for of_track in edges]) - 1] = False
    x = track_statistics(cut, np.flatnonzero(is_segment))
    layout = StatisticsLayout.of(store)
    if usable := [one for one in ("differences", "mean_std") if one in layout.choices]:
        x = x[:, layout.columns(usable[0])]
    return Segments(
        x.astype(np.float64),
        label=np.repeat(labels[keep], per_track[keep], axis=0),
        track=np.repeat(keep, per_track[keep]),
        group=np.repeat(group[keep], per_track[keep]),
        segment_s=n_frames / store.frame_rate_hz if store.frame_rate_hz else 0.0,
    )


def _drawn(group: Ints, n_segments: Ints, *, seed: int) -> NDArray[np.bool_]:
    """Which tracks are used: complete groups in random order, until there are enough segments."""
    sizes = np.bincount(group, weights=n_segments)
    order = random_generator(seed, Purpose.SEGMENTS).permutation(len(sizes))
    before = np.cumsum(sizes[order]) - sizes[order]
    return np.isin(group, order[before < MAX_SCORED_SEGMENTS])


def _n_folds(cut: Segments) -> int:
    counts = group_counts(cut.label, cut.group, n_classes=class_count(cut.label))
    fewest = int((counts > 0).sum(axis=0)[counts.any(axis=0)].min())
    if fewest < 2:
        raise UserError(
            "a class has only one group outside the locked test set, so groups cannot be disjoint; "
            "see: chorale data check"
        )
    return min(MAX_FOLDS, fewest)


def _numbered(unit: Ints) -> Ints:
    return np.asarray(np.unique(unit, return_inverse=True)[1], dtype=np.int64)


def _out_of_fold(
    x: NDArray[np.float64], y: Labels, fold: Ints, known: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """Probabilities (n, n_classes) of each row by a model that was trained on the other folds.

    On those of their rows that are `known` (n,), by default all.
    """
    if y.ndim == 2:
        columns = [
            _out_of_fold(x, is_present(column).astype(np.int64), fold, is_known(column))
            for column in y.T
        ]
        return np.stack([c[:, 1] if c.shape[1] == 2 else 0 * c[:, 0] for c in columns], axis=1)
    proba = np.zeros((len(y), int(y.max()) + 1), np.float32)
    for held_out in np.unique(fold):
        valid = fold == held_out
        train = ~valid if known is None else ~valid & known
        if not train.any():
            continue
        if len(present := np.unique(y[train])) == 1:  # of a label: on all other rows, or on none
            proba[valid, present[0]] = 1
            continue
        model = make_pipeline(
            StandardScaler(), LogisticRegression(C=INVERSE_L2_STRENGTH, max_iter=200)
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # precise enough for this purpose
            model.fit(x[train], y[train])
        proba[np.ix_(valid, model.classes_)] = model.predict_proba(x[valid])
    return proba
