import copy
import json
import pickle
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from chorale.datasets.base import track_table
from chorale.datasets.errors import UserError
from chorale.datasets.splitting import group_split
from chorale.datasets.splitting.split import Split, make_split
from chorale.datasets.splitting.split_config import SplitConfig

N_FOLDS = 4
SEEDS = range(4)


def table(rows: Iterable[tuple[str, str, str]], **columns: Any) -> pd.DataFrame:
    """Rows of (track_id, label, group)."""
    made = track_table(
        {"track_id": track, "label": label, "group": group} for track, label, group in rows
    )
    return made.assign(**columns)


def random_table(seed: int) -> pd.DataFrame:
    """Groups of uneven sizes; with an odd seed some of them have tracks of several classes."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[str, str, str]] = []
    for label in range(int(rng.integers(2, 7))):
        for group in range(int(rng.integers(N_FOLDS + 1, 15))):
            shared = seed % 2 and rng.random() < 0.3
            name = f"shared{group}" if shared else f"{label}-{group}"
            for _ in range(int(rng.geometric(0.2))):
                rows.append((f"t{len(rows):04d}", f"class{label}", name))
    return table(rows)


def speakers(n: int = 6, n_each: int = 5) -> pd.DataFrame:
    """Every group has every class, as in FSDD."""
    return table(
        (f"{digit}_{speaker}_{i}", str(digit), f"s{speaker}")
        for digit in range(10)
        for speaker in range(n)
        for i in range(n_each)
    )


def column(tracks: pd.DataFrame, name: str, ids: Iterable[str]) -> set[str]:
    values = dict(zip(tracks["track_id"], tracks[name], strict=True))
    return {values[track] for track in ids}


@pytest.mark.parametrize("by", ["group", "track"])
@pytest.mark.parametrize("seed", SEEDS)
def test_every_track_is_in_exactly_one_part(seed: int, by: Any) -> None:
    tracks = random_table(seed)
    split = make_split(tracks, SplitConfig(by=by, seed=seed), n_folds=N_FOLDS)
    assert sorted(split.test_ids + split.development_ids) == tracks["track_id"].tolist()
    valid = [track for fold in range(N_FOLDS) for track in split.valid_ids(fold)]
    assert sorted(valid) == sorted(split.development_ids)
    for fold in range(N_FOLDS):
        both = split.train_ids(fold) + split.valid_ids(fold)
        assert sorted(both) == sorted(split.development_ids)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_group_is_on_two_sides(seed: int) -> None:
    tracks = random_table(seed)
    split = make_split(tracks, SplitConfig(seed=seed), n_folds=N_FOLDS)
    test = column(tracks, "group", split.test_ids)
    for fold in range(N_FOLDS):
        train = column(tracks, "group", split.train_ids(fold))
        valid = column(tracks, "group", split.valid_ids(fold))
        assert not train & valid
        assert not (train | valid) & test


@pytest.mark.parametrize("by", ["group", "track"])
@pytest.mark.parametrize("seed", SEEDS)
def test_every_class_is_in_the_test_set_and_all_training_parts(seed: int, by: Any) -> None:
    tracks = random_table(seed)
    split = make_split(tracks, SplitConfig(by=by, seed=seed), n_folds=N_FOLDS)
    classes = set(tracks["label"])
    assert column(tracks, "label", split.test_ids) == classes
    for fold in range(N_FOLDS):
        assert column(tracks, "label", split.train_ids(fold)) == classes
        if seed % 2 == 0:  # where each group has one class, each fold can have each class
            assert column(tracks, "label", split.valid_ids(fold)) == classes


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_the_rows_does_not_matter(seed: int) -> None:
    tracks = random_table(seed)
    shuffled = tracks.sample(frac=1, random_state=seed)
    config = SplitConfig(seed=seed)
    one, other = (make_split(t, config, n_folds=N_FOLDS) for t in (tracks, shuffled))
    assert one == other
    assert one.hash == other.hash
    assert one.development_ids == other.development_ids


@pytest.mark.parametrize("share", [0.1, 0.2, 1 / 3, 0.5])
def test_the_test_set_has_about_the_requested_share_of_each_class(share: float) -> None:
    tracks = table((f"{i:04d}", str(i % 3), str(i // 6)) for i in range(600))
    split = make_split(tracks, SplitConfig(test=share), n_folds=N_FOLDS)
    assert len(split.test_ids) / len(tracks) == pytest.approx(share, abs=0.01)
    sizes = [len(split.valid_ids(fold)) for fold in range(N_FOLDS)]
    assert max(sizes) - min(sizes) <= 6


def test_the_hash_changes_exactly_when_the_partition_does() -> None:
    tracks = random_table(0)
    splits = [make_split(tracks, SplitConfig(seed=seed), n_folds=N_FOLDS) for seed in SEEDS]
    partitions = {(s.test_ids, tuple(s.fold_of.items())): s.hash for s in splits}
    assert len(set(partitions.values())) == len(partitions) > 1
    first = splits[0]
    assert replace(first, seed=99, protocol="other").hash == first.hash
    assert replace(first, fold_of=dict(reversed([*first.fold_of.items()]))).hash == first.hash
    assert replace(first, test_ids=first.test_ids[1:]).hash != first.hash
    moved = {**first.fold_of, first.development_ids[0]: (first.fold_of["t0000"] + 1) % N_FOLDS}
    assert replace(first, fold_of=moved).hash != first.hash
    renamed = tracks.assign(track_id=tracks["track_id"] + "x")
    assert make_split(renamed, SplitConfig(), n_folds=N_FOLDS).hash != first.hash


def test_six_speakers_give_two_for_the_test_set_and_four_folds() -> None:
    tracks = speakers()
    split = make_split(tracks, SplitConfig(test=1 / 3), n_folds=4)
    assert len(column(tracks, "group", split.test_ids)) == 2
    assert [len(column(tracks, "group", split.valid_ids(f))) for f in range(4)] == [1, 1, 1, 1]
    assert split.protocol == "test by group, folds by group"


def test_the_test_set_can_be_named_by_groups() -> None:
    tracks = speakers()
    split = make_split(tracks, SplitConfig(test_groups=("s5", "s1")), n_folds=4)
    assert column(tracks, "group", split.test_ids) == {"s1", "s5"}
    assert split.protocol == "test named, folds by group"


def test_a_split_by_track_has_groups_on_two_sides_and_says_so_in_the_protocol() -> None:
    tracks = speakers()
    split = make_split(tracks, SplitConfig(by="track"), n_folds=4)
    assert column(tracks, "group", split.test_ids) == set(tracks["group"])
    assert split.protocol == "test by track, folds by track"


def test_more_folds_shrink_the_test_set_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tracks = speakers()
    split = make_split(tracks, SplitConfig(test=1 / 3), n_folds=5)
    assert len(column(tracks, "group", split.test_ids)) == 1
    assert "17 % of the tracks instead of 33 %" in caplog.text


def test_another_seed_gives_another_test_set_and_other_folds() -> None:
    tracks = random_table(0)
    one, other = (make_split(tracks, SplitConfig(seed=s), n_folds=N_FOLDS) for s in (0, 1))
    assert one.test_ids != other.test_ids
    named = [
        make_split(speakers(8), SplitConfig(test_groups=("s0",), seed=seed), n_folds=3)
        for seed in SEEDS
    ]
    assert len({split.hash for split in named}) > 1


def test_the_smallest_group_is_drawn_if_all_are_too_large() -> None:
    sizes = {"a": (30, 20, 25), "b": (9, 8, 7)}
    tracks = table(
        (f"{c}{g}-{i:02d}", c, f"{c}{g}")
        for c, groups in sizes.items()
        for g, n in enumerate(groups)
        for i in range(n)
    )
    split = make_split(tracks, SplitConfig(test=0.05), n_folds=2)
    assert column(tracks, "group", split.test_ids) == {"a1", "b2"}


def test_the_folds_with_the_most_even_classes_of_several_draws_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def uneven(n_attempts: int) -> float:
        monkeypatch.setattr(group_split, "MAX_ATTEMPTS", n_attempts)
        total = 0.0
        for seed in SEEDS:
            tracks = random_table(2 * seed + 1)
            y, g = (np.unique(tracks[c], return_inverse=True)[1] for c in ("label", "group"))
            fold = group_split.draw_folds(y, g, n_folds=N_FOLDS, seed=0)
            per_fold = group_split.group_counts(y, fold, n_classes=int(y.max()) + 1)
            total += float(np.sum((per_fold / per_fold.sum(axis=0) - 1 / N_FOLDS) ** 2))
        return total

    assert uneven(10) < uneven(1)


def test_one_large_group_does_not_exclude_a_class_from_the_test_set() -> None:
    small = [(f"{c}{g}", c, f"{c}{g}") for c in "ab" for g in range(5)]
    large = [(f"{c}9-{i:03d}", c, f"{c}9") for c in "ab" for i in range(200)]
    tracks = table([*small, *large])
    split = make_split(tracks, SplitConfig(), n_folds=5)
    assert column(tracks, "label", split.test_ids) == {"a", "b"}
    assert not column(tracks, "group", split.test_ids) & {"a9", "b9"}


def test_an_official_test_set_is_used_unchanged() -> None:
    tracks = speakers()
    parts = {"s0": "test", "s1": "valid"}
    tracks["split"] = [parts.get(group, "train") for group in tracks["group"]]
    split = make_split(tracks, SplitConfig(test=0.5), n_folds=5)
    assert column(tracks, "group", split.test_ids) == {"s0"}
    assert split.protocol == "test official, folds by group"
    with pytest.raises(UserError, match="the dataset has an official test set of 50 tracks"):
        make_split(tracks, SplitConfig(test_groups=("s1",)), n_folds=5)


def test_the_test_set_is_drawn_if_official_parts_have_none() -> None:
    tracks = speakers().assign(split="train")
    assert make_split(tracks, SplitConfig(), n_folds=4).protocol == "test by group, folds by group"


def test_official_folds_are_used_unchanged_for_any_n_folds() -> None:
    tracks = speakers()
    tracks["fold"] = pd.array([int(group[1]) // 2 + 1 for group in tracks["group"]], "Int64")
    split = make_split(tracks, SplitConfig(test_groups=("s0",)), n_folds=7)
    assert split.n_folds == 3
    assert [column(tracks, "group", split.valid_ids(f)) for f in range(3)] == [
        {"s1"},
        {"s2", "s3"},
        {"s4", "s5"},
    ]
    assert split.protocol == "test named, folds official"


def test_an_official_fold_can_be_the_test_set_and_the_others_stay_folds() -> None:
    tracks = speakers(5)
    tracks["fold"] = pd.Series([int(name[-1]) for name in tracks["group"]], dtype="Int64")
    numbers = sorted(tracks["fold"].unique())
    split = make_split(tracks, SplitConfig(test_fold=numbers[2]))
    assert column(tracks, "group", split.test_ids) == {
        name for name in tracks["group"] if int(name[-1]) == numbers[2]
    }
    assert split.n_folds == 4
    assert split.protocol == f"test official fold {numbers[2]}, folds official"


@pytest.mark.parametrize(
    ("folds", "options", "message"),
    [
        (True, {"test_fold": 9}, "the dataset has official folds"),
        (False, {"test_fold": 0}, "the dataset has no official folds"),
        (True, {"test_fold": 1, "test_groups": ("s1",)}, "both define the test set"),
    ],
)
def test_an_invalid_test_fold_raises(folds: bool, options: dict[str, Any], message: str) -> None:
    tracks = speakers(5)
    if folds:
        tracks["fold"] = pd.Series([int(name[-1]) for name in tracks["group"]], dtype="Int64")
    with pytest.raises(UserError, match=message):
        make_split(tracks, SplitConfig(**options))


def test_a_split_round_trips_through_json_and_pickle() -> None:
    split = make_split(speakers(), SplitConfig(), n_folds=4)
    assert Split.from_json(json.loads(json.dumps(split.to_json()))) == split
    assert pickle.loads(pickle.dumps(split)) == split
    assert hash(split) == hash(copy.deepcopy(split))


@pytest.mark.parametrize(
    "change",
    [
        {"hash": "0" * 64},
        {"test_ids": ["0_0_0"]},
        {"test_ids": 7},
        {"n_folds": 3},
        {"fold_of": []},
        {"surprise": 1},
        {"fold_of": {"0_0_0": "x"}},
    ],
)
def test_a_split_that_was_changed_by_hand_raises(change: dict[str, Any]) -> None:
    content = make_split(speakers(), SplitConfig(), n_folds=4).to_json()
    with pytest.raises(UserError):
        Split.from_json({**content, **change})


def test_a_track_on_two_sides_or_an_empty_fold_raises() -> None:
    with pytest.raises(ValueError, match="both in the test set and in a fold"):
        Split(("a",), {"a": 0, "b": 1}, "", 2, 0)
    with pytest.raises(ValueError, match="none of them empty"):
        Split(("a",), {"b": 0, "c": 2}, "", 3, 0)


@pytest.mark.parametrize("fold", [-1, 4])
def test_a_fold_that_does_not_exist_raises(fold: int) -> None:
    split = make_split(speakers(), SplitConfig(), n_folds=4)
    with pytest.raises(ValueError, match=f"{fold=}"):
        split.valid_ids(fold)
    with pytest.raises(ValueError, match=f"{fold=}"):
        split.train_ids(fold)


@pytest.mark.parametrize("options", [{"test": 0}, {"test": 0.9}, {"by": "artist"}, {"seed": -1}])
def test_a_config_out_of_bounds_raises(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SplitConfig(**options)


def test_a_test_set_drawn_beside_official_folds_leaves_each_class_in_two_of_them() -> None:
    names = [f"a{i}" for i in range(12)] + [f"b{i}" for i in range(3)]
    tracks = table((name, name[0], name) for name in names)
    folds = {"b0": 0, "b1": 0, "b2": 1}
    of = [folds.get(group, int(group[1:]) % 3) for group in tracks["group"]]
    tracks["fold"] = pd.array(of, "Int64")
    for seed in range(8):
        split = make_split(tracks, SplitConfig(seed=seed), n_folds=5)
        assert "b2" not in split.test_ids  # or fold 0 would hold every track of b
        assert {"b0", "b1"} & set(split.test_ids)


def test_official_folds_with_gaps_are_numbered_without_them() -> None:
    tracks = speakers()
    numbers = {"s0": 1, "s1": 1, "s2": 4, "s3": 4, "s4": 7, "s5": 7}
    tracks["fold"] = tracks["group"].map(numbers).astype("Int64")
    split = make_split(tracks, SplitConfig(test_fold=4), n_folds=5)
    assert column(tracks, "group", split.test_ids) == {"s2", "s3"}
    assert split.n_folds == 2
    assert column(tracks, "group", split.valid_ids(1)) == {"s4", "s5"}
