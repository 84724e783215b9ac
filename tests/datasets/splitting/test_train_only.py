import pandas as pd

from chorale.datasets.audit.leaks import find_leaks
from chorale.datasets.base import track_table
from chorale.datasets.splitting.labels import LabelChanges
from chorale.datasets.splitting.labels_config import LabelsConfig
from chorale.datasets.splitting.rare_classes import change_rare_classes
from chorale.datasets.splitting.split import Split, feasible_folds, make_split
from chorale.datasets.splitting.split_config import SplitConfig

NO_PAIRS = pd.DataFrame(columns=["track_id", "other_id"])


def places(n: int = 12) -> pd.DataFrame:
    """`n` places in the order of time, each with tracks of a and b; and rare classes.

    `alone` has one place of its own, `shared` tracks of three places that have others, too.
    """
    rows = [(f"{label}{i}", label, f"p{i:02d}", float(i)) for i in range(n) for label in "ab"]
    rows += [("alone0", "alone", "island", 0.5)]
    rows += [(f"shared{i}", "shared", f"p{i:02d}", float(i)) for i in (0, 1, 5)]
    names = ("track_id", "label", "group", "time")
    return track_table(dict(zip(names, row, strict=True)) for row in rows)


def split_of(tracks: pd.DataFrame, config: SplitConfig, n_folds: int = 3) -> Split:
    return make_split(tracks, config, n_folds=n_folds, train_only=("alone", "shared"))


def test_tracks_that_are_only_trained_on_are_in_no_fold_and_no_test_set() -> None:
    tracks = places()
    group = dict(zip(tracks["track_id"], tracks["group"], strict=True))
    n_unused = 0
    for seed in range(6):
        split = split_of(tracks, SplitConfig(seed=seed))
        tested = {group[name] for name in split.test_ids}
        assert not {name[0] for name in (*split.test_ids, *split.development_ids)} & {"s"}
        assert "alone0" not in (*split.test_ids, *split.development_ids)
        for fold in range(3):
            trained = split.train_ids(fold)
            assert "alone0" in trained
            valid = {group[name] for name in split.valid_ids(fold)}
            assert not {group[name] for name in trained} & (valid | tested)
        for name in ("shared0", "shared1", "shared5"):
            n_trained = sum(name in split.train_ids(fold) for fold in range(3))
            assert n_trained == (0 if group[name] in tested else 2)
            assert (name in split.trained_ids) == (group[name] not in tested)
            n_unused += group[name] in tested
        used = tracks[tracks["track_id"].isin([*split.test_ids, *split.trained_ids])]
        assert find_leaks(used, split, NO_PAIRS) == []
    assert n_unused  # so that this case is in the test


def test_other_tracks_are_split_as_without_them() -> None:
    tracks = places()
    scored = tracks[tracks["label"].isin(["a", "b"])]
    alone = make_split(scored, SplitConfig(), n_folds=3)
    split = split_of(tracks, SplitConfig())
    assert (split.test_ids, split.fold_of) == (alone.test_ids, alone.fold_of)
    assert split.hash != alone.hash
    assert Split.from_json(split.to_json()) == split


def test_by_time_they_are_trained_on_by_later_folds_only() -> None:
    tracks = places()
    split = split_of(tracks, SplitConfig(time=True))
    time = dict(zip(tracks["track_id"], tracks["time"], strict=True))
    assert {"alone0", "shared0", "shared5"} <= split.train_only.keys()
    for fold in range(3):
        last = max(time[name] for name in split.train_ids(fold))
        assert last < min(time[name] for name in split.valid_ids(fold))
    assert "shared5" not in split.train_ids(2)
    assert "shared5" in split.train_ids(0)
    alone = tracks[tracks["track_id"] == "alone0"]
    late = pd.concat([tracks, alone.assign(track_id="x", group="x", time=99.0)])
    assert "x" not in split_of(late, SplitConfig(time=True)).trained_ids


def test_official_parts_are_respected() -> None:
    tracks = places()
    number = tracks["group"].str[1:].replace("sland", "1").astype(int)
    with_folds = tracks.assign(fold=(number % 4).astype("Int64"))
    split = split_of(with_folds, SplitConfig(test_fold=3))
    assert split.train_only == {"alone0": 1, "shared0": 0, "shared1": 1, "shared5": 1}
    official = tracks.assign(split=["test" if n < 3 else "train" for n in number])
    split = split_of(official, SplitConfig())
    assert set(split.train_only) == {"shared5"}


def test_rare_classes_are_named_once_and_the_folds_do_not_depend_on_them() -> None:
    tracks, config = places(), LabelsConfig(rare="train_only")
    tracks = tracks[tracks["track_id"] != "shared5"]
    same, changes = change_rare_classes(tracks, config, SplitConfig(), n_folds=5)
    assert same is tracks
    assert changes.train_only == {"alone": 1, "shared": 2}
    assert changes.lines() == [
        "only trained on, never scored: 2 classes with 3 tracks: 'alone' (1), 'shared' (2)"
    ]
    known = changes.train_only
    _, more = change_rare_classes(tracks, config, SplitConfig(), n_folds=5, train_only=known)
    assert more == LabelChanges()
    assert feasible_folds(tracks, SplitConfig(), n_folds=5, train_only=known) == (5, "")
    by_time = SplitConfig(time=True)
    assert set(change_rare_classes(tracks, config, by_time, n_folds=3)[1].train_only) == {
        "alone",
        "shared",
    }
