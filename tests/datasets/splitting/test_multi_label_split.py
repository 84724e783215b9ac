"""Splits of tracks that have several labels: group-disjoint, and stratified label by label."""

import numpy as np
import pandas as pd
import pytest

from chorale.datasets.base import track_table
from chorale.datasets.errors import UserError
from chorale.datasets.label_sets import (
    class_names_of,
    indicator_matrix,
    join_labels,
    label_array,
    one_row_per_label,
)
from chorale.datasets.splitting.group_split import draw_folds, group_counts, stratify_groups
from chorale.datasets.splitting.labels import change_labels
from chorale.datasets.splitting.labels_config import LabelsConfig
from chorale.datasets.splitting.rare_classes import change_rare_classes, find_rare_classes
from chorale.datasets.splitting.split import make_split
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
    assert several.dtype == np.uint8
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
    with pytest.raises(UserError, match=r"'rare' has 1; .*--labels.rare leave_out \(1 of 4 labels"):
        make_split(tracks, SplitConfig(), n_folds=2)
    rare = find_rare_classes(tracks, SplitConfig())
    assert [(one.label, one.n_tracks, one.why) for one in rare] == [("rare", 1, "has 1 group")]


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


def test_rare_labels_cannot_be_trained_on_only() -> None:
    config = LabelsConfig(rare="train_only")
    with pytest.raises(UserError, match=r"type --labels\.rare leave_out or --labels.rare merge"):
        change_rare_classes(_tracks(20), config, SplitConfig(), n_folds=2)
