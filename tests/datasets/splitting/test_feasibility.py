from collections.abc import Iterable
from typing import Any

import pandas as pd
import pytest

from chorale.datasets.base import track_table
from chorale.datasets.errors import UserError
from chorale.datasets.splitting.split import make_split
from chorale.datasets.splitting.split_config import SplitConfig

N_FOLDS = 4


def table(rows: Iterable[tuple[str, str, str]], **columns: Any) -> pd.DataFrame:
    """Rows of (track_id, label, group)."""
    made = track_table(
        {"track_id": track, "label": label, "group": group} for track, label, group in rows
    )
    return made.assign(**columns)


def speakers(n: int = 6, n_each: int = 5) -> pd.DataFrame:
    """Every group has every class, as in FSDD."""
    return table(
        (f"{digit}_{speaker}_{i}", str(digit), f"s{speaker}")
        for digit in range(10)
        for speaker in range(n)
        for i in range(n_each)
    )


def refusal(tracks: pd.DataFrame, n_folds: int = N_FOLDS, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        make_split(tracks, SplitConfig(**options), n_folds=n_folds)
    return str(caught.value)


def test_all_classes_with_too_few_groups_are_listed_with_a_feasible_number_of_folds() -> None:
    rows = [(f"{c}{g}", c, f"{c}{g}") for c, n in (("a", 9), ("b", 5), ("c", 3)) for g in range(n)]
    text = refusal(table(rows), n_folds=5)
    assert text.startswith("2 classes have too few groups for 5 folds and a test set")
    assert "which take 6 groups of every class: 'b' has 5, 'c' has 3" in text
    assert "type --finalists.folds 2," in text
    assert make_split(table(rows), SplitConfig(), n_folds=2).n_folds == 2


@pytest.mark.parametrize("n_groups", [1, 2])
def test_a_class_with_fewer_than_three_groups_raises(n_groups: int) -> None:
    rows = [(f"{c}{g}", c, f"{c}{g}") for c, n in (("a", 9), ("b", n_groups)) for g in range(n)]
    text = refusal(table(rows))
    assert f"'b' has {n_groups}" in text
    assert "no number of folds works, as at least 3 groups are needed" in text
    assert "for 2 folds and a test set, which take 3 groups of every class" in text
    assert f"--labels.rare leave_out (1 of 2 classes, {n_groups} of {9 + n_groups} tracks)" in text
    assert "--labels.rare merge" not in text  # one class of so few groups stays as rare as it is


def test_classes_that_can_be_merged_or_split_by_track_have_the_keys_in_the_error() -> None:
    rows = [(f"{c}{g}", c, f"{c}{g}") for c, n in (("a", 9), ("b", 2), ("c", 1)) for g in range(n)]
    text = refusal(table(rows))
    assert "leave_out (2 of 3 classes, 3 of 12 tracks), merge them into one class" in text
    assert "few_groups" not in text
    solo = table([*rows[:9], *((f"s{i}", "solo", "s") for i in range(3))])
    assert "split it by track with --audit.accept '[few_groups]'" in refusal(solo)


def test_an_error_lists_the_first_of_many_classes() -> None:
    sizes = {f"c{c}": 9 if c < 10 else 1 for c in range(40)}
    text = refusal(table((f"{c}-{g}", c, f"{c}-{g}") for c, n in sizes.items() for g in range(n)))
    assert text.startswith("30 classes have too few groups")
    assert "and 10 more; no number" in text


def test_too_few_groups_besides_a_named_test_set_raise() -> None:
    text = refusal(speakers(), n_folds=5, test_groups=("s0", "s1"))
    assert "for 5 folds beside the test set" in text
    assert "'9' has 4" in text
    assert "type --finalists.folds 4," in text
    assert "no number of folds" in refusal(speakers(2), test_groups=("s0", "s1"))


def test_all_unknown_test_groups_are_listed_with_the_nearest() -> None:
    text = refusal(speakers(7), test_groups=("s0", "s11", "xyz"))
    assert "unknown 's11' (did you mean 's1'?), 'xyz'; the 7 groups are s0, s1" in text
    assert "and 2 more" in text


def test_a_single_class_raises() -> None:
    assert "the one class 'a'" in refusal(table((str(i), "a", str(i)) for i in range(9)))
    assert "no class at all" in refusal(table([]))


def test_a_class_missing_in_the_test_set_raises() -> None:
    tracks = table((f"{c}{g}", c, f"{c}{g}") for c in "ab" for g in range(9))
    assert "the test set has no track of 'b'" in refusal(tracks, test_groups=("a0",))
    official = tracks.assign(split=["test", *["train"] * 17])
    assert "the test set has no track of 'b'" in refusal(official)


def test_a_group_on_two_official_sides_raises_unless_split_by_track() -> None:
    tracks = speakers()
    tracks["split"] = ["test" if name.endswith("_0") else "train" for name in tracks["track_id"]]
    text = refusal(tracks)
    assert "the official split has 6 groups on two sides: 's0'" in text
    assert make_split(tracks, SplitConfig(by="track"), n_folds=4).test_ids


def test_incomplete_official_parts_raise() -> None:
    tracks = speakers()
    some = tracks.assign(split=tracks["group"].map({"s0": "test", "s1": "train"}))
    assert "200 tracks have no official split, such as '0_2_0'" in refusal(some)
    folds = pd.array([0 if group < "s3" else None for group in tracks["group"]], "Int64")
    text = refusal(tracks.assign(fold=folds))
    assert "have no official fold" in text
    assert "such as '0_4_0', '0_4_1'" in text
    one = pd.array([0] * len(tracks), "Int64")
    assert "in the one official fold 0" in refusal(tracks.assign(fold=one))


def test_an_official_fold_with_all_tracks_of_a_class_raises() -> None:
    tracks = table((f"{c}{g}", c, f"{c}{g}") for c in "ab" for g in range(9))
    fold = [0 if name[0] == "a" else int(name[1]) % 2 for name in tracks["track_id"]]
    text = refusal(tracks.assign(fold=pd.array(fold, "Int64")))
    assert "fold 0 holds every development track of 'a'" in text
    assert "--labels.rare leave_out" in text
