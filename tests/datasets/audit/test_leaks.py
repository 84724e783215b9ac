import pandas as pd
import pytest

from chorale.datasets.audit.leaks import (
    Leak,
    accepted_kinds,
    find_leaks,
    join_groups,
    require_no_leaks,
)
from chorale.datasets.base import track_table
from chorale.datasets.errors import UserError
from chorale.datasets.splitting.split import Split, make_split
from chorale.datasets.splitting.split_config import SplitConfig


def tracks_of(**changes: dict[str, object]) -> pd.DataFrame:
    """Two labels x 4 groups x 2 tracks: a0-0 is the first of group a0, with label a."""
    rows = {
        f"{label}{group}-{take}": {"label": label, "group": f"{label}{group}"}
        for label in "ab"
        for group in range(4)
        for take in range(2)
    }
    return track_table(
        {"track_id": name, **row, **changes.get(name.replace("-", "_"), {})}
        for name, row in rows.items()
    )


def pairs_of(*pairs: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame(pairs, columns=["track_id", "other_id"])


def split_of(tracks: pd.DataFrame, *test: str) -> Split:
    """The named groups are the test set, the others alternate between two folds."""
    groups = sorted(set(tracks["group"]) - set(test))
    fold = {group: i % 2 for i, group in enumerate(groups)}
    at = dict(zip(tracks["track_id"], tracks["group"], strict=True))
    return Split(
        test_ids=tuple(name for name, group in at.items() if group in test),
        fold_of={name: fold[group] for name, group in at.items() if group not in test},
        protocol="made by hand",
        n_folds=2,
        seed=0,
    )


def test_a_clean_split_has_no_leaks() -> None:
    tracks = tracks_of()
    assert find_leaks(tracks, split_of(tracks, "a0", "b0"), pairs_of(("a0-0", "a0-1"))) == []


def test_a_recording_on_two_sides_is_a_leak_that_lists_both_tracks() -> None:
    tracks = tracks_of()
    leaks = find_leaks(tracks, split_of(tracks, "a0", "b0"), pairs_of(("a0-0", "a1-1")))
    assert [(leak.kind, leak.track_ids) for leak in leaks] == [("duplicates", ("a0-0", "a1-1"))]
    assert "'a0-0' (a, the test set)" in leaks[0].detail
    assert "'a1-1' (a, fold 0)" in leaks[0].detail


def test_three_copies_are_one_leak() -> None:
    tracks = tracks_of()
    pairs = pairs_of(("a0-0", "a1-0"), ("a1-0", "a2-0"))
    leaks = find_leaks(tracks, split_of(tracks, "a0", "b0"), pairs)
    assert [leak.track_ids for leak in leaks] == [("a0-0", "a1-0", "a2-0")]


def test_a_recording_under_two_labels_is_a_leak_even_on_one_side() -> None:
    tracks = tracks_of()
    leaks = find_leaks(tracks, split_of(tracks, "a0", "b0"), pairs_of(("a0-0", "b0-0")))
    assert [(leak.kind, leak.track_ids) for leak in leaks] == [("labels", ("a0-0", "b0-0"))]
    assert "'a0-0' (a, the test set), 'b0-0' (b, the test set)" in leaks[0].detail


def test_a_group_on_two_sides_is_a_leak() -> None:
    tracks = tracks_of()
    by_track = make_split(tracks, SplitConfig(by="track"), n_folds=2)
    assert {leak.kind for leak in find_leaks(tracks, by_track, pairs_of())} == {"groups"}
    assert find_leaks(tracks, make_split(tracks, SplitConfig(), n_folds=2), pairs_of()) == []


def test_a_class_of_one_group_is_a_leak() -> None:
    tracks = tracks_of().assign(group=lambda table: table["label"] + "-artist")
    by_track = make_split(tracks, SplitConfig(by="track"), n_folds=2)
    few = [leak for leak in find_leaks(tracks, by_track, pairs_of()) if leak.kind == "few_groups"]
    assert [len(leak.track_ids) for leak in few] == [8, 8]
    assert "all 8 tracks of 'a' are of one group, 'a-artist'" in few[0].detail


def test_tracks_outside_the_split_are_no_leak() -> None:
    tracks = tracks_of()
    assert find_leaks(tracks, split_of(tracks, "a0", "b0"), pairs_of(("a0-0", "missing"))) == []


def test_groups_that_share_a_recording_are_merged_before_the_split() -> None:
    tracks = tracks_of()
    pairs = pairs_of(("a1-0", "a2-1"), ("a2-0", "a3-0"))
    joined = join_groups(tracks, pairs, SplitConfig())
    assert set(joined["group"]) == {"a0", "a1", "b0", "b1", "b2", "b3"}
    assert set(joined["group"][joined["track_id"].str.startswith(("a2", "a3"))]) == {"a1"}


@pytest.mark.parametrize("seed", range(8))
def test_duplicates_are_on_one_side_of_every_drawn_split(seed: int) -> None:
    tracks = tracks_of()
    pairs = pairs_of(("a1-0", "a2-1"), ("b0-0", "b3-1"))
    config = SplitConfig(seed=seed)
    joined = join_groups(tracks, pairs, config)
    assert find_leaks(joined, make_split(joined, config, n_folds=2), pairs) == []


@pytest.mark.parametrize(
    ("config", "changes"),
    [
        (SplitConfig(test_groups=("a0", "b0")), {}),
        (SplitConfig(by="track"), {}),
        (SplitConfig(), {"a0_0": {"split": "test"}, "a0_1": {"split": "test"}}),
        (SplitConfig(), {"a0_0": {"fold": 0}, "a1_0": {"fold": 1}}),
    ],
)
def test_official_and_named_parts_are_not_merged_for_duplicates(
    config: SplitConfig, changes: dict[str, dict[str, object]]
) -> None:
    tracks = tracks_of(**changes)
    joined = join_groups(tracks, pairs_of(("a0-0", "a1-0")), config)
    assert joined["group"].tolist() == tracks["group"].tolist()


def test_a_leak_raises_with_what_to_type_unless_it_is_accepted() -> None:
    leaks = [Leak("duplicates", ("x", "y"), "x is y"), Leak("labels", ("x", "y"), "x or y")]
    with pytest.raises(UserError) as raised:
        require_no_leaks(leaks, {"labels"})
    text = str(raised.value)
    assert "the split has 1 leak," in text
    assert "duplicates: x is y" in text
    assert "x or y" not in text
    assert "--audit.accept '[duplicates, labels]'" in text
    require_no_leaks(leaks, {"duplicates", "labels"})
    require_no_leaks([], ())


def test_many_leaks_are_counted_and_only_a_few_are_listed() -> None:
    leaks = [Leak("groups", (str(i),), f"group number {i}") for i in range(30)]
    with pytest.raises(UserError, match="30 leaks") as raised:
        require_no_leaks(leaks, ())
    assert "and 25 more" in str(raised.value)
    assert "group number 9" not in str(raised.value)


def test_a_split_by_track_accepts_group_leaks_but_no_duplicates() -> None:
    assert accepted_kinds((), SplitConfig(by="track")) == {"groups", "few_groups"}
    assert accepted_kinds(("labels",), SplitConfig()) == {"labels"}
