from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from chorale.datasets.base import track_table
from chorale.datasets.errors import UserError
from chorale.datasets.store.feature_store import FeatureStore
from chorale.datasets.store.precomputed_features import build_table_store, row_hashes


@pytest.fixture
def tracks() -> pd.DataFrame:
    return track_table({"track_id": name, "label": name, "group": name} for name in "cab")


@pytest.fixture
def frame() -> pd.DataFrame:
    # interleaved segments of different tracks, and a track that is not requested
    rows = [("b", 1.0, 2.0), ("a", 3.0, 4.0), ("x", 0.0, 0.0), ("b", 5.0, 6.0), ("c", 7.0, 8.0)]
    table = pd.DataFrame(rows, columns=["track_id", "tempo", "rms"])
    return table.set_index("track_id")


def _build(tracks: pd.DataFrame, frame: pd.DataFrame, root: Path) -> FeatureStore:
    return build_table_store(
        tracks.assign(content=row_hashes(tracks, frame)), "table", frame, root=root
    )


def test_rows_of_a_track_become_its_frames_in_order(
    tracks: pd.DataFrame, frame: pd.DataFrame, tmp_path: Path
) -> None:
    store = _build(tracks, frame, tmp_path)
    assert store.track_ids == ("a", "b", "c")
    assert store.offsets.tolist() == [0, 1, 3, 4]
    np.testing.assert_array_equal(store.frames, [[3, 4], [1, 2], [5, 6], [7, 8]])
    assert store.n_bins == 2
    assert store.frames.dtype == np.float32


def test_the_store_depends_on_the_values_of_the_table(
    tracks: pd.DataFrame, frame: pd.DataFrame, tmp_path: Path
) -> None:
    first = _build(tracks, frame, tmp_path)
    assert _build(tracks, frame, tmp_path).folder == first.folder
    frame.iloc[0, 0] = 9.0
    assert _build(tracks, frame, tmp_path).folder != first.folder
    assert len(list(tmp_path.iterdir())) == 2, "a temporary folder was left"


def test_row_hashes_change_only_where_values_do(tracks: pd.DataFrame, frame: pd.DataFrame) -> None:
    before = row_hashes(tracks, frame)
    frame.iloc[0, 0] = 9.0  # of track b
    assert (before != row_hashes(tracks, frame)).tolist() == [False, True, False]


def test_a_track_without_a_row_raises(tracks: pd.DataFrame, frame: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="1 tracks have no row of features, such as 'c'"):
        row_hashes(tracks, frame.drop("c"))
