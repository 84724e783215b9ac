"""Data changes between two nights, by the content of tracks, and when they are refused."""

from pathlib import Path

import pandas as pd
import pytest

from chorale.datasets.splitting.split import Split
from chorale.search.nightly.changes import (
    DataDifference,
    DataRefusedError,
    Snapshot,
    data_difference,
    refuse_changes,
)
from chorale.search.nightly.config import ChangesConfig
from chorale.search.nightly.locked_test_set import (
    LockedTestSet,
    lock_test_set,
    refuse_changed_test_set,
    refuse_trained_on,
)

BEFORE = Snapshot({f"{x}.wav": (f"hash-{x}", "rock", f"band-{x}") for x in "abcdefghij"})


def now(**changes: tuple[str, str, str] | None) -> Snapshot:
    """The earlier tracks with some changed, new, or (None) removed."""
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
def test_tracks_are_matched_by_name_or_content(after: Snapshot, counts: dict[str, int]) -> None:
    assert data_difference(BEFORE, after).counts == counts


def test_the_first_night_has_no_changes() -> None:
    found = data_difference(None, BEFORE)
    assert found == DataDifference()
    refuse_changes(found, ChangesConfig(), file="my.yaml")
    assert found.summary() == "nothing to compare with yet"


def test_too_many_relabelled_tracks_are_refused_with_the_command_to_accept_them() -> None:
    found = data_difference(BEFORE, now(a=("hash-a", "jazz", "x"), b=("hash-b", "jazz", "x")))
    refuse_changes(found, ChangesConfig(max_relabelled=0.2), file="my.yaml")
    with pytest.raises(DataRefusedError, match=r"2 of 10 tracks are relabelled \(20.0%; allowed"):
        refuse_changes(found, ChangesConfig(max_relabelled=0.1), file="my.yaml")
    with pytest.raises(DataRefusedError, match=r"chorale nightly my.yaml --accept"):
        refuse_changes(found, ChangesConfig(), file="my.yaml")


def test_a_snapshot_has_the_datasets_groups_and_reads_back(tmp_path: Path) -> None:
    audited = pd.DataFrame(
        {"track_id": ["a"], "content": ["h"], "label": ["rock"], "group": ["joined"]}
    )
    raw = pd.DataFrame({"track_id": ["a", "bad"], "group": ["own", "other"]})
    made = Snapshot.of(audited, raw)
    assert made.tracks == {"a": ("h", "rock", "own")}
    made.write(tmp_path / "data.json")
    assert Snapshot.read(tmp_path / "data.json") == made
    assert Snapshot.read(tmp_path / "none.json") is None


def test_a_label_that_becomes_known_is_a_change_of_labels() -> None:
    raw = pd.DataFrame({"track_id": ["a", "b"], "group": ["x", "y"]})
    audited = raw.assign(content=["h", "i"], label=["rock", ""], unknown=["jazz", "rock"])
    made = Snapshot.of(audited, raw)
    assert made.tracks == {"a": ("h", "rock;jazz?", "x"), "b": ("i", "rock?", "y")}
    known = Snapshot.of(audited.assign(unknown=["", "rock"]), raw)
    assert data_difference(made, known).relabelled == ("a",)


def _locked() -> LockedTestSet:
    folds = {f"{x}.wav": i % 2 for i, x in enumerate("cdefghij")}
    split = Split(("a.wav", "b.wav"), folds, "test by group, folds by group", 2, 0)
    return lock_test_set(split, BEFORE, since="2026-11-01", asked={"seed": 0})


def test_groups_of_a_drawn_test_set_are_locked_and_read_back(tmp_path: Path) -> None:
    found = _locked()
    assert found.groups == ("band-a", "band-b")
    found.write(tmp_path / "locked.json")
    assert LockedTestSet.read(tmp_path / "locked.json") == found
    assert LockedTestSet.read(tmp_path / "none.json") is None


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (now(a=None), "1 are missing: a.wav"),
        (now(b=("hash-b", "jazz", "band-b")), r"b.wav \(rock, now jazz\)"),
        (now(b=("hash-x", "rock", "band-b")), r"b.wav \(other audio\)"),
    ],
)
def test_changed_locked_tracks_are_refused(after: Snapshot, expected: str) -> None:
    refuse_changed_test_set(_locked(), BEFORE, file="my.yaml")
    with pytest.raises(DataRefusedError, match=expected):
        refuse_changed_test_set(_locked(), after, file="my.yaml")


def test_a_fresh_test_set_on_which_the_champion_was_trained_is_refused() -> None:
    from chorale.datasets.errors import UserError

    refuse_trained_on(_locked(), frozenset({"hash-c"}), study="old")
    with pytest.raises(UserError, match="was trained on 1 of 2 tracks of the fresh test set"):
        refuse_trained_on(_locked(), frozenset({"hash-a"}), study="old")
