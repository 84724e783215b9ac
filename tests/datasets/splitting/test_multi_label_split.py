"""Splits of tracks that have several labels: group-disjoint, and stratified label by label."""

import numpy as np
import pandas as pd
import pytest

from chorale.datasets.audit.leaks import find_leaks
from chorale.datasets.base import track_table
from chorale.datasets.errors import UserError
from chorale.datasets.label_sets import (
    class_names_of,
    indicator_matrix,
    join_labels,
    label_array,
    one_row_per_label,
    track_labels,
)
from chorale.datasets.splitting.group_split import draw_folds, group_counts, stratify_groups
from chorale.datasets.splitting.labels import change_labels
from chorale.datasets.splitting.labels_config import LabelsConfig
from chorale.datasets.splitting.rare_classes import (
    change_rare_classes,
    find_rare_classes,
    refuse_rare_classes,
)
from chorale.datasets.splitting.split import feasible_folds, make_split
from chorale.datasets.splitting.split_config import SplitConfig

N_FOLDS = 4


def _tracks(
    n_groups: int, *, seed: int = 0, shares: tuple[float, ...] = (0.6, 0.3, 0.1)
) -> pd.DataFrame:
    """Groups of 1 to 6 tracks; whether a group tends to have a label is drawn for the group."""
    rng = np.random.default_rng(seed)
    names = "abcdef"[: len(shares)]
    rows = []
    for group in range(n_groups):
        tends = rng.random(len(shares)) < np.array(shares)
        for track in range(rng.integers(1, 7)):
            has = [n for n, one in zip(names, tends, strict=True) if one and rng.random() < 0.8]
            rows.append(
                {
                    "track_id": f"{group:03}/{track}",
                    "label": join_labels(has or [names[0]]),
                    "group": f"g{group:03}",
                }
            )
    return track_table(rows)


def test_one_text_holds_all_labels_of_a_track() -> None:
    assert join_labels(["piano", " bass ", "piano"]) == "bass;piano"
    assert class_names_of(["bass;piano", "drums"]) == ("bass", "drums", "piano")
    assert label_array(["b", "a"], ("a", "b")).tolist() == [1, 0]
    several = label_array(["a;b", "b"], ("a", "b", "c"))
    assert several.dtype == np.int8
    assert several.tolist() == [[1, 1, 0], [0, 1, 0]]
    assert one_row_per_label(_tracks(3))["label"].isin(list("abc")).all()


@pytest.mark.parametrize("seed", range(3))
def test_no_group_is_on_two_sides_and_every_label_is_on_each(seed: int) -> None:
    tracks = _tracks(80, seed=seed)
    split = make_split(tracks, SplitConfig(seed=seed), n_folds=N_FOLDS)
    side_of = {**dict.fromkeys(split.test_ids, -1), **split.fold_of}
    table = tracks.assign(side=tracks["track_id"].map(side_of))
    assert (table.groupby("group")["side"].nunique() == 1).all()
    assert len(side_of) == len(tracks)
    names = class_names_of(tracks["label"])
    for side in (-1, *range(N_FOLDS)):
        inside = table[table["side"] == side]
        assert indicator_matrix(inside["label"].tolist(), names).any(axis=0).all(), side


def test_labels_are_spread_more_evenly_than_by_chance() -> None:
    """The largest share of a rare label in a fold, over 20 corpora, beside random groups."""
    ours: list[float] = []
    chance: list[float] = []
    for seed in range(20):
        tracks = _tracks(50, seed=seed, shares=(0.6, 0.3, 0.15))
        names = class_names_of(tracks["label"])
        y = label_array(tracks["label"].tolist(), names)
        _, g = np.unique(tracks["group"], return_inverse=True)
        drawn = draw_folds(y, g, n_folds=N_FOLDS, seed=seed)
        at_random = np.random.default_rng(seed).permutation(np.arange(50) % N_FOLDS)[g]
        for folds, found in ((drawn, ours), (at_random, chance)):
            counts = group_counts(y, folds, n_classes=len(names))
            found.append(float((counts / counts.sum(axis=0)).max()))
    assert np.mean(ours) < 0.33
    assert np.mean(ours) < np.mean(chance) - 0.1


def test_groups_without_a_label_fill_the_folds_evenly() -> None:
    counts = np.zeros((40, 2), np.int64)
    folds = stratify_groups(counts, np.ones(40, np.int64), n_folds=4, seed=0)
    assert np.bincount(folds).tolist() == [10, 10, 10, 10]


def test_a_label_of_one_group_is_named_with_what_to_type() -> None:
    tracks = _tracks(40)
    tracks.loc[0, "label"] = join_labels([*tracks["label"][0].split(";"), "rare"])
    with pytest.raises(
        UserError,
        match=r"'rare' has 1; .*--labels.rare leave_out \(1 of 4 labels.*--labels.rare train_only",
    ):
        make_split(tracks, SplitConfig(), n_folds=2)
    rare = find_rare_classes(tracks, SplitConfig())
    assert [(one.label, one.n_tracks, one.why) for one in rare] == [("rare", 1, "has 1 group")]


def test_groups_without_rows_or_without_labels_are_placed_too() -> None:
    """Of a development set the numbers of the test set's groups are free."""
    counts = np.array([[2, 0], [0, 0], [0, 0], [1, 3]])
    folds = stratify_groups(counts, np.array([2, 0, 4, 3]), n_folds=2, seed=0)
    assert folds[1] == -1
    assert sorted(folds[[0, 2, 3]].tolist()) in ([0, 0, 1], [0, 1, 1])


def test_a_label_that_is_left_out_goes_and_its_tracks_stay_where_they_have_another() -> None:
    tracks = track_table(
        [
            {"track_id": "1", "label": "a;b", "group": "1"},
            {"track_id": "2", "label": "b", "group": "2"},
            {"track_id": "3", "label": "a;c", "group": "3"},
        ]
    )
    table, changes = change_labels(tracks, LabelsConfig(leave_out=("b",), merge={"a": ("c",)}))
    assert dict(zip(table["track_id"], table["label"], strict=True)) == {"1": "a", "3": "a"}
    assert changes.left_out == {"b": 2}
    assert changes.merged == {"a": {"c": 1}}


def _with_rare(n_groups: int = 40) -> pd.DataFrame:
    """`rare` is a label of two tracks of one group, of which one has no other label."""
    tracks = _tracks(n_groups, shares=(0.6, 0.5, 0.4))
    group = tracks["group"].value_counts().index[0]
    first, alone = tracks.index[tracks["group"] == group][:2]
    tracks.loc[first, "label"] = join_labels([*tracks["label"][first].split(";"), "rare"])
    tracks.loc[alone, "label"] = "rare"
    return tracks


def test_a_rare_label_is_trained_on_only_and_its_tracks_are_split_by_their_other_labels() -> None:
    tracks, config = _with_rare(), LabelsConfig(rare="train_only")
    first, alone = tracks["track_id"][tracks["label"].str.contains("rare")]
    same, changes = change_rare_classes(tracks, config, SplitConfig(), n_folds=N_FOLDS)
    assert same is tracks
    assert changes.train_only == {"rare": 2}
    known = changes.train_only
    again = change_rare_classes(tracks, config, SplitConfig(), n_folds=4, train_only=known)
    assert again[1].train_only == {}
    assert feasible_folds(tracks, SplitConfig(), n_folds=4, train_only=known) == (4, "")
    for seed in range(8):
        by = SplitConfig(seed=seed)
        split = make_split(tracks, by, n_folds=N_FOLDS, train_only=known)
        assert first in (*split.test_ids, *split.development_ids)
        assert alone not in (*split.test_ids, *split.development_ids)
        assert (alone in split.train_only) == (first not in split.test_ids)
        if first in split.fold_of:  # the two are of one group
            assert split.train_only == {alone: split.fold_of[first]}
        without = change_labels(tracks, LabelsConfig(leave_out=("rare",)))[0]
        assert make_split(without, by, n_folds=N_FOLDS).fold_of == split.fold_of
        used = tracks[tracks["track_id"].isin([*split.test_ids, *split.trained_ids])]
        pairs = pd.DataFrame(columns=["track_id", "other_id"])
        assert find_leaks(used, split, pairs, train_only=known) == []


def test_few_groups_cannot_be_accepted_for_labels_whose_tracks_have_others() -> None:
    tracks, accept = _with_rare(), ("few_groups",)
    refuse_rare_classes(tracks, LabelsConfig(), SplitConfig(), n_folds=2)
    for config in (LabelsConfig(rare="train_only"), LabelsConfig(rare="leave_out")):
        refuse_rare_classes(tracks, config, SplitConfig(), n_folds=2, accept=accept)
    by_track = SplitConfig(by="track")
    refuse_rare_classes(tracks, LabelsConfig(), by_track, n_folds=2, accept=accept)
    with pytest.raises(UserError) as caught:
        refuse_rare_classes(tracks, LabelsConfig(), SplitConfig(), n_folds=2, accept=accept)
    assert "1 label is of one group, 'rare' (2 tracks)" in str(caught.value)
    assert "type --labels.rare train_only" in str(caught.value)


def test_changes_of_labels_keep_what_is_unknown() -> None:
    rows = [("a;b", "c"), ("b", "a"), ("", "a"), ("c", "b"), ("", "a;b"), ("a", "d"), ("d", "a")]
    tracks = track_table(
        {"track_id": str(i), "label": label, "unknown": unknown, "group": str(i)}
        for i, (label, unknown) in enumerate(rows)
    )
    table, changes = change_labels(tracks, LabelsConfig(leave_out=("c",), merge={"a": ("d",)}))
    assert changes.left_out == {"c": 1}
    found = zip(table["track_id"], table["label"], table["unknown"], strict=True)
    assert list(found) == [
        ("0", "a;b", ""),
        ("1", "b", "a"),
        ("2", "", "a"),  # it is known not to have b
        ("5", "a", ""),  # a or d: it has one of both
        ("6", "a", ""),
    ]


def test_a_split_has_tracks_that_are_known_to_have_each_label_on_each_side() -> None:
    tracks = _tracks(80)
    names = class_names_of(tracks["label"])
    rng = np.random.default_rng(1)
    rows = []
    for name, text, group in tracks[["track_id", "label", "group"]].itertuples(index=False):
        hidden = [n for n in names if rng.random() < 0.6]
        left = join_labels(set(text.split(";")) - set(hidden))
        one = {"track_id": name, "label": left, "group": group, "unknown": join_labels(hidden)}
        rows += [one] if len(hidden) < len(names) else []
    table = track_table(rows)
    assert (table["label"] == "").any()
    split = make_split(table, SplitConfig(), n_folds=3)
    assert len(split.test_ids) + len(split.fold_of) == len(table)
    labels = track_labels(table, names)
    for ids in (split.test_ids, *(split.valid_ids(fold) for fold in range(3))):
        assert (labels[table["track_id"].isin(ids)] == 1).any(axis=0).all()
