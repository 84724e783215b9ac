"""What changed between two nights, told by the tracks' content, and when it is too much."""

from pathlib import Path

import pandas as pd
import pytest

from chorale.datasets.splitting.split import Split
from chorale.search.nightly.changes import (
    DataRefusedError,
    Difference,
    Snapshot,
    difference,
    refuse,
)
from chorale.search.nightly.config import Changes
from chorale.search.nightly.locked import Locked, lock, refuse_moved, refuse_trained_on

BEFORE = Snapshot({f"{x}.wav": (f"hash-{x}", "rock", f"band-{x}") for x in "abcdefghij"})


def now(**changes: tuple[str, str, str] | None) -> Snapshot:
    """The tracks of before with some changed, new, or (None) gone."""
    tracks = dict(BEFORE.tracks)
    for name, facts in changes.items():
        if facts is None:
            del tracks[f"{name}.wav"]
        else:
            tracks[f"{name}.wav"] = facts
    return Snapshot(tracks)


@pytest.mark.parametrize(
    ("after", "counts"),
    [
        (now(), {}),
        (now(z=("hash-z", "jazz", "band-z")), {"new": 1}),
        (now(a=None), {"gone": 1}),
        (now(a=("hash-a", "jazz", "band-a")), {"relabelled": 1}),
        (now(a=("hash-x", "rock", "band-a")), {"changed": 1}),
        (now(a=("hash-a", "rock", "band-b")), {"regrouped": 1}),
        (now(a=None, moved=("hash-a", "rock", "band-a")), {}),
        (now(a=None, moved=("hash-a", "jazz", "band-a")), {"relabelled": 1}),
        (now(copy=("hash-a", "rock", "band-a")), {"new": 1}),
    ],
)
def test_tracks_are_known_by_name_or_content(after: Snapshot, counts: dict[str, int]) -> None:
    assert difference(BEFORE, after).counts == counts


def test_the_first_night_has_nothing_to_compare_with() -> None:
    found = difference(None, BEFORE)
    assert found == Difference()
    refuse(found, Changes(), file="my.yaml")
    assert found.said() == "nothing to compare with yet"


def test_more_relabelled_tracks_than_allowed_are_refused_with_what_to_type() -> None:
    found = difference(BEFORE, now(a=("hash-a", "jazz", "x"), b=("hash-b", "jazz", "x")))
    refuse(found, Changes(max_relabelled=0.2), file="my.yaml")
    with pytest.raises(DataRefusedError, match=r"2 of 10 tracks are relabelled \(20.0%; allowed"):
        refuse(found, Changes(max_relabelled=0.1), file="my.yaml")
    with pytest.raises(DataRefusedError, match=r"chorale nightly my.yaml --accept"):
        refuse(found, Changes(), file="my.yaml")


def test_a_snapshot_names_groups_as_the_dataset_does_and_reads_back(tmp_path: Path) -> None:
    audited = pd.DataFrame(
        {"track_id": ["a"], "content": ["h"], "label": ["rock"], "group": ["joined"]}
    )
    raw = pd.DataFrame({"track_id": ["a", "bad"], "group": ["own", "other"]})
    made = Snapshot.of(audited, raw)
    assert made.tracks == {"a": ("h", "rock", "own")}
    made.write(tmp_path / "data.json")
    assert Snapshot.read(tmp_path / "data.json") == made
    assert Snapshot.read(tmp_path / "none.json") is None


def _locked() -> Locked:
    folds = {f"{x}.wav": i % 2 for i, x in enumerate("cdefghij")}
    split = Split(("a.wav", "b.wav"), folds, "test by group, folds by group", 2, 0)
    return lock(split, BEFORE, since="2026-11-01", asked={"seed": 0})


def test_groups_of_a_drawn_test_set_are_locked_and_read_back(tmp_path: Path) -> None:
    found = _locked()
    assert found.groups == ("band-a", "band-b")
    found.write(tmp_path / "locked.json")
    assert Locked.read(tmp_path / "locked.json") == found
    assert Locked.read(tmp_path / "none.json") is None


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (now(a=None), "1 are gone: a.wav"),
        (now(b=("hash-b", "jazz", "band-b")), r"b.wav \(rock, now jazz\)"),
        (now(b=("hash-x", "rock", "band-b")), r"b.wav \(other audio\)"),
    ],
)
def test_locked_tracks_must_stay_as_they_were(after: Snapshot, said: str) -> None:
    refuse_moved(_locked(), BEFORE, file="my.yaml")
    with pytest.raises(DataRefusedError, match=said):
        refuse_moved(_locked(), after, file="my.yaml")


def test_a_fresh_test_set_must_be_new_to_the_champion() -> None:
    from chorale.datasets.errors import UserError

    refuse_trained_on(_locked(), frozenset({"hash-c"}), study="old")
    with pytest.raises(UserError, match="1 of 2 tracks of the fresh test set taught the champion"):
        refuse_trained_on(_locked(), frozenset({"hash-a"}), study="old")
