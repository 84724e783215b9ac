from collections.abc import Mapping
from typing import Any

import pandas as pd
import pytest

from chorale.datasets.base import track_table
from chorale.datasets.config import read_config
from chorale.datasets.errors import UserError
from chorale.datasets.splitting.labels import LabelChanges, change_labels, split_single_groups
from chorale.datasets.splitting.labels_config import LabelsConfig
from chorale.datasets.splitting.rare_classes import (
    change_rare_classes,
    find_rare_classes,
    refuse_rare_classes,
)
from chorale.datasets.splitting.split import feasible_folds, make_split
from chorale.datasets.splitting.split_config import SplitConfig


def table(n_of: Mapping[str, int], *, n_each: int = 1, **columns: Any) -> pd.DataFrame:
    """`n_of` maps a class to its number of groups; each has `n_each` tracks."""
    made = track_table(
        {"track_id": f"{label}{group}-{take}", "label": label, "group": f"{label}{group}"}
        for label, n in n_of.items()
        for group in range(n)
        for take in range(n_each)
    )
    return made.assign(**columns)


def counts(tracks: pd.DataFrame) -> dict[str, int]:
    return dict(tracks["label"].value_counts().sort_index())


def refusal(values: Mapping[str, Any]) -> str:
    with pytest.raises(UserError) as caught:
        read_config(LabelsConfig, values, where="x")
    return str(caught.value)


def test_named_classes_are_left_out_and_merged() -> None:
    tracks = table({"a": 5, "b": 4, "c": 3, "d": 2, "e": 1})
    config = LabelsConfig(leave_out=("c",), merge={"new": ("d", "e"), "a": ("b",)})
    changed, changes = change_labels(tracks, config)
    assert counts(changed) == {"a": 9, "new": 3}
    assert changed.index.tolist() == list(range(12))
    assert changes.left_out == {"c": 3}
    assert changes.merged == {"new": {"d": 2, "e": 1}, "a": {"b": 4}}
    assert changes.lines() == [
        "left out: 1 class with 3 tracks: 'c' (3)",
        "merged into 'new': 2 classes with 3 tracks: 'd' (2), 'e' (1)",
        "merged into 'a': 1 class with 4 tracks: 'b' (4)",
    ]


def test_names_that_differ_by_a_space_stay_two_classes() -> None:
    tracks = table({"rock": 3, "rock ": 2, "jazz": 2, "pop": 1})
    assert counts(change_labels(tracks, LabelsConfig(leave_out=("pop",)))[0]) == {
        "jazz": 2,
        "rock": 3,
        "rock ": 2,
    }


def test_unknown_names_that_differ_by_a_space_stay_two_labels() -> None:
    rows = [
        {"track_id": "1", "label": "jazz;pop", "group": "1", "unknown": "rock ;rock"},
        {"track_id": "2", "label": "rock;rock ", "group": "2"},
    ]
    changed, _ = change_labels(track_table(rows), LabelsConfig(leave_out=("pop",)))
    assert changed["unknown"].tolist() == ["rock;rock ", ""]


def test_nothing_is_changed_by_default() -> None:
    tracks = table({"a": 5, "b": 1})
    assert change_labels(tracks, LabelsConfig())[0] is tracks
    assert change_rare_classes(tracks, LabelsConfig(), SplitConfig(), n_folds=5)[0] is tracks
    assert LabelChanges().lines() == []
    assert LabelChanges().as_json() == {}


def test_all_unknown_names_are_listed_with_the_nearest() -> None:
    config = LabelsConfig(leave_out=("robbin", "wren"), merge={"x": ("owl", "zzz")})
    with pytest.raises(UserError) as caught:
        change_labels(table({"robin": 3, "wren": 3, "owls": 3}), config)
    text = str(caught.value)
    assert "'robbin' (did you mean 'robin'?), 'owl' (did you mean 'owls'?), 'zzz'" in text
    assert "'wren'" not in text
    assert "the 3 classes are owls, robin, wren" in text


def test_all_contradictions_of_the_config_are_listed() -> None:
    text = refusal({"leave_out": ["a", "b"], "merge": {"x": ["a", "c"], "y": ["c", "x"], "z": []}})
    assert "'a' is named twice" in text
    assert "'c' is named twice" in text
    assert "'z' lists no class" in text
    assert "'x' is merged into another class" in text
    assert "labels.rare" not in refusal({"rare": "drop"})
    assert read_config(LabelsConfig, {"leave_out": [7]}, where="x").leave_out == ("7",)


@pytest.mark.parametrize(("by", "rare"), [("group", ["one", "two"]), ("track", [])])
def test_only_classes_that_two_folds_and_the_test_set_cannot_have_are_rare(
    by: Any, rare: list[str]
) -> None:
    tracks = table({"many": 9, "three": 3, "two": 2, "one": 1}, n_each=3)
    split = SplitConfig(by=by)
    found = find_rare_classes(tracks, split)
    assert [one.label for one in found] == rare
    changed, changes = change_rare_classes(tracks, LabelsConfig(rare="leave_out"), split, n_folds=5)
    assert sorted(changes.left_out) == rare
    n_folds, _ = feasible_folds(changed, split, n_folds=5)
    assert set(make_split(changed, split, n_folds=n_folds).fold_of.values()) == set(range(n_folds))


def test_min_groups_makes_more_classes_rare() -> None:
    tracks = table({"many": 9, "five": 5, "two": 2})
    config = LabelsConfig(rare="leave_out", min_groups=6)
    changed, changes = change_rare_classes(tracks, config, SplitConfig(), n_folds=5)
    assert counts(changed) == {"many": 9}
    assert changes.left_out == {"five": 5, "two": 2}
    fewer = LabelsConfig(rare="leave_out", min_groups=2)  # never fewer than the split needs
    assert change_rare_classes(tracks, fewer, SplitConfig(), n_folds=5)[1].left_out == {"two": 2}


def test_rare_classes_are_merged_into_one_that_can_be_split() -> None:
    tracks = table({"many": 9, "b": 2, "c": 1, "other": 1})
    changed, changes = change_rare_classes(
        tracks, LabelsConfig(rare="merge"), SplitConfig(), n_folds=5
    )
    assert counts(changed) == {"many": 9, "other": 4}
    assert changes.merged == {"other": {"b": 2, "c": 1}}
    again, more = change_rare_classes(changed, LabelsConfig(rare="merge"), SplitConfig(), n_folds=5)
    assert again["label"].equals(changed["label"])
    assert more == LabelChanges()


def test_classes_that_a_given_test_set_or_given_folds_lack_are_rare() -> None:
    tracks = table({"a": 4, "b": 4, "c": 4, "d": 2})
    tracks["split"] = ["test" if g in ("a0", "c0", "d0") else "train" for g in tracks["group"]]
    found = {one.label: one.why for one in find_rare_classes(tracks, SplitConfig())}
    assert found == {"b": "is not in the test set", "d": "has 1 group beside the test set"}
    named = SplitConfig(test_groups=("a0", "b0", "c0"))
    plain = table({"a": 4, "b": 4, "c": 4, "d": 2})
    assert [one.label for one in find_rare_classes(plain, named)] == ["d"]
    folds = [0 if name[0] == "c" else int(name[1]) % 3 for name in plain["group"]]
    in_folds = plain.assign(fold=pd.array(folds, "Int64"))
    assert {one.label: one.why for one in find_rare_classes(in_folds, SplitConfig())} == {
        "c": "is in one fold only",
        "d": "has 2 groups",
    }
    held_out = {one.label: one.why for one in find_rare_classes(in_folds, SplitConfig(test_fold=2))}
    assert held_out["c"] == "is not in the test set"


def test_refuse_names_the_rare_classes_and_what_to_type() -> None:
    tracks = table({"many": 9, "five": 5})
    refuse_rare_classes(tracks, LabelsConfig(), SplitConfig(), n_folds=5)
    refuse_rare_classes(tracks, LabelsConfig(min_groups=6, rare="merge"), SplitConfig(), n_folds=5)
    with pytest.raises(UserError) as caught:
        refuse_rare_classes(tracks, LabelsConfig(min_groups=6), SplitConfig(), n_folds=5)
    text = str(caught.value)
    assert "1 class is rare, with labels.min_groups=6: 'five' has 5 groups" in text
    assert "--labels.rare leave_out (leaves out 1 class with 5 tracks)" in text


def test_accepted_few_groups_split_a_class_of_one_group_by_track_and_no_other() -> None:
    tracks = table({"a": 5, "b": 5, "solo": 1}, n_each=3)
    with pytest.raises(UserError, match="'solo' has 1"):
        make_split(tracks, SplitConfig(), n_folds=2)
    assert split_single_groups(tracks, split=SplitConfig(), accept=())[0] is tracks
    changed, changes = split_single_groups(tracks, split=SplitConfig(), accept=("few_groups",))
    assert changes.by_track == {"solo": 3}
    assert "solo" in changes.lines()[0]
    split = make_split(changed, SplitConfig(), n_folds=2)
    assert sum(name.startswith("solo") for name in split.test_ids) == 1
    sides = dict.fromkeys(split.test_ids, -1) | dict(split.fold_of)
    for label in "ab":
        for group in range(5):
            assert len({sides[f"{label}{group}-{take}"] for take in range(3)}) == 1


def test_changes_of_two_steps_are_joined() -> None:
    first = LabelChanges({"a": 1}, {"other": {"b": 2}})
    later = LabelChanges({"c": 3}, {"other": {"d": 4}}, {"e": 5})
    assert first.then(later) == LabelChanges(
        {"a": 1, "c": 3}, {"other": {"b": 2, "d": 4}}, {"e": 5}
    )
