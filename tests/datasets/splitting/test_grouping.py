"""Proposals of groups from folders and tags, and the warning about missing groups."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from chorale.datasets.base import track_table
from chorale.datasets.catalog import folder
from chorale.datasets.errors import UserError
from chorale.datasets.splitting import grouping
from chorale.datasets.splitting.split import feasible_folds, make_split
from chorale.datasets.splitting.split_config import SplitConfig


def _flac(path: Path, **tags: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(path, "w", samplerate=8000, channels=1, format="FLAC") as file:
        for name, value in tags.items():
            setattr(file, name, value)
        file.write(np.zeros(800))


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    """Two labels, three artists each of whom one is in both, two tracks each."""
    for label, artists in (("jazz", "abc"), ("rock", "cde")):
        for artist in artists:
            for take in range(2):
                _flac(tmp_path / label / artist / f"{take}.flac", artist=f" The  {artist.upper()}")
    return tmp_path


def _tracks(root: Path, group: str | None = None) -> pd.DataFrame:
    return folder.tracks(folder.Config(root=str(root), group=group))


@pytest.mark.parametrize(
    ("group", "expected"),
    [("parent_folder", set("abcde")), ("tag:artist", {f"the {name}" for name in "abcde"})],
)
def test_folders_and_tags_are_groups(nested: Path, group: str, expected: set[str]) -> None:
    found = _tracks(nested, group)
    assert set(found["group"]) == expected
    assert found["group"].value_counts().to_dict()[min(expected)] == 2
    shared = found[found["group"].isin({"c", "the c"})]
    assert set(shared["label"]) == {"jazz", "rock"}


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ("parent_folder", "no folder below the label's for 1 of 13 tracks, such as 'jazz/x.flac'"),
        ("tag:artist", "no artist for 1 of 13 tracks"),
        ("tag:album", "no album for 13 of 13 tracks"),
    ],
)
def test_tracks_without_the_group_are_counted_in_the_error(
    nested: Path, group: str, message: str
) -> None:
    _flac(nested / "jazz" / "x.flac")
    with pytest.raises(UserError, match=message):
        _tracks(nested, group)


def test_an_undecodable_file_is_its_own_group(nested: Path) -> None:
    (nested / "jazz" / "a" / "broken.flac").write_bytes(b"no audio")
    found = _tracks(nested, "tag:artist").set_index("track_id")
    assert found.loc["jazz/a/broken.flac", "group"] == "jazz/a/broken.flac"


def test_groups_are_proposed_with_the_setting_to_type(nested: Path) -> None:
    tracks = _tracks(nested)
    assert [one.setting for one in grouping.propose_groups(tracks)] == [
        "parent_folder",
        "tag:artist",
    ]
    message = grouping.no_groups_warning(tracks, proposed=grouping.propose_groups(tracks), key=True)
    assert "group: parent_folder (the 12 tracks are in 5 folders)" in message
    assert "group: tag:artist (12 of 12 probed files name 5 artists)" in message
    assert grouping.propose_groups(_tracks(nested, "parent_folder")) == []
    assert grouping.no_groups_warning(_tracks(nested, "parent_folder"), proposed=(), key=True) == ""


def test_label_folders_are_not_proposed_as_groups(tmp_path: Path) -> None:
    for label in ("jazz", "rock"):
        for take in range(4):
            _flac(tmp_path / label / f"{take}.flac")
    tracks = _tracks(tmp_path)
    assert grouping.propose_groups(tracks) == []
    assert "group: REGEX" in grouping.no_groups_warning(tracks, proposed=(), key=True)


def test_the_protocol_of_a_split_without_groups_is_by_track(nested: Path) -> None:
    tracks = _tracks(nested)
    by = grouping.split_unit_text(tracks, "group")
    split = make_split(tracks, SplitConfig(), n_folds=2, by=by)
    assert split.protocol == (
        "test by track (no groups were given), folds by track (no groups were given)"
    )
    assert grouping.split_unit_text(tracks, "track") == "track"
    assert grouping.split_unit_text(_tracks(nested, "parent_folder"), "group") == "group"


def test_the_number_of_folds_is_limited_by_the_groups_of_a_class(nested: Path) -> None:
    for artist in "fgh":
        for label in ("jazz", "rock"):
            _flac(nested / label / (label + artist) / "0.flac")
    tracks = _tracks(nested, "parent_folder")
    config = SplitConfig()
    n, why = feasible_folds(tracks, config, n_folds=9)
    assert (n, why) == (5, "5 folds instead of 9: 'jazz' has 6 groups")
    assert make_split(tracks, config, n_folds=n).n_folds == 5
    assert feasible_folds(tracks, config, n_folds=3) == (3, "")
    with_test_groups = SplitConfig(test_groups=("a", "d", "jazzf", "rockf"))
    assert feasible_folds(tracks, with_test_groups, n_folds=9)[0] == 4
    assert make_split(tracks, with_test_groups, n_folds=4).n_folds == 4


def test_groups_are_proposed_for_tracks_of_several_labels() -> None:
    rows = [
        {"track_id": f"set/album-{album}/{track}.wav", "label": label, "group": f"{album}/{track}"}
        for album in range(4)
        for track, label in enumerate(("bass", "bass;piano", "drums;piano"))
    ]
    rows[0]["label"] = "bass;drums"  # a text of one folder, of labels that are in all folders
    found = grouping.propose_groups(track_table(rows))
    assert [one.setting for one in found] == ["parent_folder"]
