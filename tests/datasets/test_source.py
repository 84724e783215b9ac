from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from chorale.datasets.base import track_table
from chorale.datasets.catalog import gtzan_images, table
from chorale.datasets.errors import UserError
from chorale.datasets.source import AudioSource, ImageSource, TableSource, source_of
from chorale.datasets.store.images import ImageReader, ImageRecipe, audit_images

GENRES = ("blues", "rock")


def picture(path: Path, *, seed: int, size: tuple[int, int] = (6, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 4), np.uint8)
    Image.fromarray(pixels, "RGBA").save(path)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    for genre in GENRES:
        for number in range(3):
            name = f"{genre}/{genre}{number:05d}.png"
            picture(root / name, seed=number + 10 * GENRES.index(genre))
    return root


def rows(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(["id,label,a,b", *lines, ""]))
    return path


def test_the_kind_of_source_follows_from_the_functions_of_the_dataset(
    images: Path, tmp_path: Path
) -> None:
    csv = rows(tmp_path / "t.csv", "1,x,1,2", "2,y,3,4")
    assert isinstance(source_of(table, table.Config(str(csv), id="id")), TableSource)
    assert isinstance(source_of(gtzan_images, gtzan_images.Config(str(images))), ImageSource)
    assert isinstance(source_of(pytest, None), AudioSource)


def test_rows_of_a_table_become_a_store_without_a_time_axis(tmp_path: Path) -> None:
    csv = rows(tmp_path / "t.csv", "1,x,1,2", "2,y,3,4", "1,x,5,6")
    config = table.Config(str(csv), id="id")
    source = source_of(table, config)
    found = source.audit(table.tracks(config), min_duration_s=1.0, cache_root=tmp_path, run=map)
    assert found.problems.empty
    store = source.build_store(found.tracks, "table", {}, root=tmp_path / "cache", run=map)
    assert store.frames.tolist() == [[1, 2], [5, 6], [3, 4]]
    assert store.offsets.tolist() == [0, 2, 3]
    assert store.frame_rate_hz == 0


def test_tracks_with_identical_numbers_are_duplicates(tmp_path: Path) -> None:
    csv = rows(tmp_path / "t.csv", "1,x,1,2", "2,y,3,4", "3,x,1,2")
    config = table.Config(str(csv), id="id")
    source = source_of(table, config)
    found = source.audit(table.tracks(config), min_duration_s=1.0, cache_root=tmp_path, run=map)
    pairs = source.find_duplicates(found.tracks, cache_root=tmp_path, run=map)
    assert pairs[["track_id", "other_id", "kind"]].values.tolist() == [["1", "3", "same numbers"]]


def test_columns_of_images_become_frames(images: Path, tmp_path: Path) -> None:
    config = gtzan_images.Config(str(images))
    source = source_of(gtzan_images, config)
    tracks = gtzan_images.tracks(config)
    found = source.audit(tracks, min_duration_s=1.0, cache_root=tmp_path, run=map)
    assert found.problems.empty
    store = source.build_store(
        found.tracks, "spectrogram_image", {}, root=tmp_path / "cache", run=map
    )
    assert (store.n_channels, store.n_bins) == (4, 16)
    assert store.frame_rate_hz == pytest.approx(6 / 30)
    assert store.lengths.tolist() == [6] * len(tracks)
    expected = gtzan_images.load(str(tracks["path"][1]), config)  # (4, 4, 6)
    np.testing.assert_array_equal(store.frames[6:12].T.reshape(4, 4, 6), expected)
    again = source.build_store(
        found.tracks, "spectrogram_image", {}, root=tmp_path / "cache", run=map
    )
    assert again.folder == store.folder


def test_grey_and_colour_images_have_different_stores(images: Path) -> None:
    path = str(images / "blues" / "blues00000.png")
    made = [
        ImageReader(partial(gtzan_images.load, config=gtzan_images.Config(".", grey=grey)), 30.0)
        for grey in (True, False)
    ]
    grey, colour = (ImageRecipe.of("spectrogram_image", reader, path) for reader in made)
    assert grey.key != colour.key
    assert (grey.shape, colour.shape) == ((1, 4, 6), (4, 4, 6))


def test_bad_images_are_reported_by_path_and_reason(images: Path) -> None:
    picture(images / "blues" / "blues00001.png", seed=5, size=(7, 4))
    (images / "rock" / "rock00002.png").write_bytes(b"no picture")
    config = gtzan_images.Config(str(images), protocol="all")
    reader = ImageReader(partial(gtzan_images.load, config=config), 30.0)
    found = audit_images(gtzan_images.tracks(config), reader, run=map)
    assert found.problems["problem"].tolist() == ["other size", "unusable picture"]
    assert found.problems["track_id"].tolist() == ["blues.00001", "rock.00002"]
    assert "4 x 4 x 7, of most 4 x 4 x 6" in found.problems["detail"][0]
    assert len(found.tracks) == 4
    assert found.tracks["content"].is_unique


def test_no_tracks_raise_a_user_error() -> None:
    empty: pd.DataFrame = track_table([])
    with pytest.raises(UserError, match="no tracks"):
        TableSource({"table": pd.DataFrame()}).audit(
            empty, min_duration_s=1.0, cache_root=Path(), run=map
        )
