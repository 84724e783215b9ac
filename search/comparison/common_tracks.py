"""The test tracks that several studies have in common, and that none of them knows better.

A track counts if it is a test track of every study. Where one study splits by artist and another by
track, the second one may have been trained on other tracks of the artist: such tracks count only if
that is true of every study, or of none.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.errors import UserError, join_first
from chorale.datasets.label_sets import LabelArray
from chorale.search.ledger.ground_truth import GroundTruth


@dataclass(frozen=True, eq=False)
class CommonTracks:
    """Test tracks of every study, with their labels.

    `labels` are class indices (n,), or 0 and 1 (n, n_classes). `groups` (n,) are the units of
    intervals: tracks that any of the studies puts into one group are in one. `n_left_out` counts
    the common test tracks that were left out, as some of the studies were trained on tracks of
    their group, `n_familiar` those of which all studies were.
    """

    ids: tuple[str, ...]
    labels: LabelArray
    groups: NDArray[np.int64]
    n_left_out: int
    n_familiar: int


def common_test_tracks(truths: Mapping[str, GroundTruth]) -> CommonTracks:
    """The test tracks that all studies have in common, in the order of the first one.

    Args:
        truths: study -> the ground truth of its tracks; two or more.

    Raises:
        UserError: the studies have other classes or other kinds of labels, give the same track
            different labels, or have no such track in common.
    """
    first, *others = truths
    for other in others:
        _refuse_other_classes(first, truths[first], other, truths[other])
    every = [set(truth.split.test_ids) for truth in truths.values()]
    shared = set.intersection(*every)
    n_trained = dict.fromkeys(shared, 0)  # by how many studies a track's group is known
    for trained in map(set, (truth.split.trained_ids for truth in truths.values())):
        for track in _of_their_groups(shared, trained, truths.values()):
            n_trained[track] += 1
    fair = {track for track, n in n_trained.items() if n in (0, len(truths))}
    ids = tuple(track for track in truths[first].split.test_ids if track in fair)
    if not ids:
        n_each = ", ".join(f"'{name}' {len(one)}" for name, one in zip(truths, every, strict=True))
        why = "they have none in common"
        if shared:
            why = f"only some were trained on the groups of the {len(shared)} in common"
        raise UserError(
            f"the studies cannot be compared on test tracks ({n_each}): {why}; run one of them "
            f"again on the other's dataset with the same `split`"
        )
    labels = truths[first].labels(ids)
    for other in others:
        _refuse_other_labels(first, other, ids, labels, truths[other].labels(ids))
    n_familiar = sum(n_trained[track] > 0 for track in ids)
    groups = _joined([truth.groups(ids) for truth in truths.values()])
    return CommonTracks(ids, labels, groups, len(shared) - len(ids), n_familiar)


def _of_their_groups(
    tracks: Collection[str], trained: Collection[str], truths: Collection[GroundTruth]
) -> set[str]:
    """Those of `tracks` that a grouping puts into one group with a track of `trained`."""
    found = set[str]()
    for truth in truths:
        groups = {truth.group_of[one] for one in trained if one in truth.group_of}
        found |= {track for track in tracks if truth.group_of[track] in groups}
    return found


def _refuse_other_classes(first: str, truth: GroundTruth, other: str, also: GroundTruth) -> None:
    if truth.multi_label != also.multi_label:
        single, several = (other, first) if truth.multi_label else (first, other)
        raise UserError(
            f"the studies cannot be compared: tracks of '{single}' have one class each, those of "
            f"'{several}' several labels"
        )
    if truth.class_names == also.class_names:
        return
    only = []
    for name, mine, theirs in ((first, truth, also), (other, also, truth)):
        if more := [one for one in mine.class_names if one not in theirs.class_names]:
            only.append(f"only '{name}' has {join_first(more)}")
    raise UserError(f"the studies cannot be compared, as their classes differ: {'; '.join(only)}")


def _refuse_other_labels(
    first: str, other: str, ids: tuple[str, ...], labels: LabelArray, theirs: LabelArray
) -> None:
    differ = labels != theirs
    wrong = np.flatnonzero(differ.any(axis=1) if differ.ndim == 2 else differ)
    if len(wrong):
        raise UserError(
            f"the studies cannot be compared: {len(wrong)} of {len(ids)} common test tracks have "
            f"other labels in '{other}' than in '{first}', such as '{ids[wrong[0]]}'"
        )


def _joined(groupings: list[NDArray[np.str_]]) -> NDArray[np.int64]:
    """The connected components (n,) of tracks that share a group of any grouping (n,)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(groupings[0])
    rows, nodes, n_nodes = [], [], n
    for grouping in groupings:  # tracks and groups are nodes, each track is joined to its groups
        _, codes = np.unique(grouping, return_inverse=True)
        rows.append(np.arange(n))
        nodes.append(codes + n_nodes)
        n_nodes += int(codes.max()) + 1
    edges = np.concatenate(rows), np.concatenate(nodes)
    graph = coo_array((np.ones(len(edges[0]), np.int8), edges), shape=(n_nodes, n_nodes))
    _, components = connected_components(graph, directed=False)
    return np.asarray(components[:n], np.int64)
