from typing import Any

import numpy as np
import pandas as pd
import pytest

from chorale.datasets.audit.leaks import find_leaks
from chorale.datasets.base import track_table
from chorale.datasets.errors import UserError
from chorale.datasets.splitting.labels_config import LabelsConfig
from chorale.datasets.splitting.rare_classes import change_rare_classes, find_rare_classes
from chorale.datasets.splitting.split import Split, feasible_folds, make_split
from chorale.datasets.splitting.split_config import SplitConfig

BY_TIME = SplitConfig(time=True)


def visits(n: int = 24, *, n_each: int = 3, gap: float = 10.0, length: float = 2.0) -> pd.DataFrame:
    """`n` groups in the order of their names, each with tracks of classes a and b."""
    return track_table(
        {
            "track_id": f"g{group:02d}-{label}{take}",
            "label": label,
            "group": f"g{group:02d}",
            "time": gap * group + length * take,
        }
        for group in range(n)
        for label in "ab"
        for take in range(n_each)
    )


def times(tracks: pd.DataFrame, ids: tuple[str, ...]) -> np.ndarray:
    return tracks.set_index("track_id")["time"].loc[list(ids)].to_numpy()


@pytest.mark.parametrize("n_folds", [2, 3, 5])
def test_each_fold_is_later_than_its_training_tracks_and_the_test_set_later_than_all(
    n_folds: int,
) -> None:
    tracks = visits()
    split = make_split(tracks.sample(frac=1, random_state=0), BY_TIME, n_folds=n_folds)
    assert times(tracks, split.trained_ids).max() < times(tracks, split.test_ids).min()
    assert len(split.test_ids) / len(tracks) == pytest.approx(0.2, abs=0.03)
    assert sorted(split.trained_ids + split.test_ids) == sorted(tracks["track_id"])
    for fold in range(n_folds):
        trained, valid = split.train_ids(fold), split.valid_ids(fold)
        assert times(tracks, trained).max() < times(tracks, valid).min()
        assert len(valid) == pytest.approx(len(split.trained_ids) / (n_folds + 1), rel=0.35)
    # the search fold is the latest, and trains on all that is earlier
    assert {*split.train_ids(0), *split.valid_ids(0)} == set(split.trained_ids)
    assert set(split.train_ids(n_folds - 1)) == set(split.train_only)
    assert "forward chaining" in split.protocol
    assert find_leaks(tracks, split, pd.DataFrame(columns=["track_id", "other_id"])) == []


def test_groups_that_overlap_in_time_stay_whole_and_are_ordered_by_their_last_track(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tracks = visits(length=20.0)  # a group lasts as long as four others
    split = make_split(tracks, BY_TIME, n_folds=3)
    group = dict(zip(tracks["track_id"], tracks["group"], strict=True))
    sides = {**dict.fromkeys(split.test_ids, -1), **split.fold_of, **split.train_only}
    assert len({(group[track], side) for track, side in sides.items()}) == 24
    latest = tracks.groupby("group")["time"].max()
    for fold in range(3):
        before = latest[[group[name] for name in split.train_ids(fold)]].max()
        assert before <= latest[[group[name] for name in split.valid_ids(fold)]].min()
    assert "test tracks are earlier than the last development track" in caplog.text


def test_a_split_by_time_round_trips_and_has_a_hash_of_its_own() -> None:
    split = make_split(visits(), BY_TIME, n_folds=3)
    again = Split.from_json(split.to_json())
    assert again == split
    assert again.train_ids(2) == split.train_ids(2)
    changed = {**split.to_json(), "train_only": dict.fromkeys(split.train_only, 1)}
    with pytest.raises(UserError, match=r"not a split|changed by hand"):
        Split.from_json(changed)


def test_a_split_of_an_older_version_keeps_its_hash() -> None:
    content = make_split(visits(), SplitConfig(), n_folds=3).to_json()
    del content["train_only"], content["by_time"]
    assert Split.from_json(content).hash == content["hash"]


@pytest.mark.parametrize(
    ("test_ids", "fold_of", "train_only", "by_time"),
    [
        (("a",), {"b": 0, "c": 1}, {"a": 2}, False),
        (("a",), {"b": 0, "c": 1}, {"b": 2}, False),
        (("a",), {"b": 0, "c": 1}, {"d": 3}, False),
        (("a",), {"b": 0, "c": 1}, {"d": 1}, True),
        (("a",), {"b": 0, "c": 1}, {}, True),
    ],
)
def test_an_impossible_split_raises(
    test_ids: Any, fold_of: Any, train_only: Any, by_time: bool
) -> None:
    with pytest.raises(ValueError, match=r"a track is both|train_only must be|needs tracks before"):
        Split(test_ids, fold_of, "p", 2, 0, train_only, by_time)


def test_tracks_without_a_time_are_counted_and_named() -> None:
    tracks = visits()
    tracks.loc[[3, 5], "time"] = np.nan
    with pytest.raises(UserError) as caught:
        make_split(tracks, BY_TIME, n_folds=2)
    assert "2 of 144 tracks have no time: 'g00-b0', 'g00-b2'" in str(caught.value)


def test_a_split_by_time_refuses_another_test_set_or_other_folds() -> None:
    tracks = visits()
    for config in (
        SplitConfig(time=True, test_groups=("g01",)),
        SplitConfig(time=True, test_fold=1),
    ):
        with pytest.raises(UserError, match=r"defines the test set; remove split\.time, or that"):
            make_split(tracks, config, n_folds=2)
    official = tracks.assign(split=["test", *["train"] * (len(tracks) - 1)])
    folds = official.assign(fold=pd.array([0] * len(tracks), "Int64"))
    with pytest.raises(UserError, match="an official test set and the dataset has official folds"):
        make_split(folds, BY_TIME, n_folds=2)


def test_folds_are_lowered_to_the_number_of_groups() -> None:
    assert feasible_folds(visits(6), BY_TIME, n_folds=5) == (
        4,
        "4 folds instead of 5: there are 6 groups",
    )
    with pytest.raises(UserError, match="take 4 groups or more, but there are 3"):
        make_split(visits(3), BY_TIME, n_folds=2)
    assert feasible_folds(visits(3), BY_TIME, n_folds=2) == (2, "")


def test_classes_that_come_too_late_or_end_too_early_are_rare() -> None:
    tracks = visits(n_each=4)
    number = tracks["group"].str[1:].astype(int)
    kind = tracks["track_id"].str[-2:]
    tracks.loc[(number > 20) & (kind == "a3"), "label"] = "late"
    tracks.loc[(number < 3) & (kind == "b3"), "label"] = "early"
    with pytest.raises(UserError) as caught:
        make_split(tracks, BY_TIME, n_folds=3)
    assert (
        "there is no track in the test set of 'early' and none before the latest fold of 'late'"
        in (str(caught.value))
    )
    found = {one.label: one.why for one in find_rare_classes(tracks, BY_TIME, n_folds=3)}
    assert found == {"early": "is not in the test set", "late": "is not before the latest fold"}
    left, changes = change_rare_classes(tracks, LabelsConfig(rare="leave_out"), BY_TIME, n_folds=3)
    assert changes.left_out == {"early": 3, "late": 3}
    assert set(left["label"]) == {"a", "b"}
    make_split(left, BY_TIME, n_folds=3)
