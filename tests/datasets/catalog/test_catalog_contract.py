"""Contract tests of every dataset in `datasets/catalog`; a new file is tested automatically."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chorale.datasets import catalog, plugins
from chorale.datasets.base import (
    IGNORED,
    NO_TRACK,
    NOT_READ,
    NOT_READ_COLUMNS,
    TRACK_COLUMNS,
)
from chorale.datasets.config import read_config
from chorale.datasets.download.checksum import parse_checksum
from chorale.datasets.errors import UserError
from chorale.datasets.label_sets import join_labels, labels_of
from chorale.datasets.tables.stats_names import STATS57, STATS518

Options = Mapping[str, Any]


def _folder(root: Path) -> Options:
    tracks = ("rock/ac_1.wav", "rock/ac_2.flac", "jazz/miles/1.mp3")
    for name in (*tracks, "rock/ac_3.xyz", "jazz/notes.txt", "jazz/._1.wav", "loose.wav"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"audio")
    return {"root": str(root), "group": r"/([a-z]+)"}


def _fsdd(root: Path) -> Options:
    for name in ("0_theo_0.wav", "0_lucas_12.wav", "9_theo_0.wav"):
        (root / name).write_bytes(b"audio")
    return {"root": str(root)}


def _synthetic(root: Path) -> Options:
    return {"root": str(root), "n_tracks": 10, "n_artists": 2, "clip_s": 0.5}


def _synthetic_polyphonic(root: Path) -> Options:
    return {"root": str(root), "n_tracks": 10, "n_artists": 5, "clip_s": 2.0}


def _gtzan(root: Path) -> Options:
    for name in ("blues/blues.00000.wav", "blues/._blues.00000.wav", "rock/rock.00016.wav"):
        path = root / "genres_original" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"audio")
    return {"root": str(root)}


def _gtzan_features(root: Path) -> Options:
    header = ",".join(["filename", "length", *STATS57, "label"])
    numbers = ",".join(["1.5"] * len(STATS57))
    segments = [(genre, n) for genre in ("blues", "rock") for n in range(10)]
    lines = [f"{genre}.00000.{n}.wav,66149,{numbers},{genre}" for genre, n in segments]
    (root / "features_3_sec.csv").write_text("\n".join([header, *lines, ""]))
    return {"root": str(root), "table": "3s", "protocol": "all"}


def _gtzan_images(root: Path) -> Options:
    for name in ("blues/blues00000.png", "rock/rock00016.png"):
        path = root / "images_original" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"picture")
    return {"root": str(root)}


def _fma(root: Path) -> Options:
    lines = [
        ",set,set,artist,track",
        ",split,subset,id,genre_top",
        "track_id,,,,",
        "2,training,small,1,Rock",
        "5,test,small,6,Pop",
        "10,test,large,6,",
    ]
    (root / "fma_metadata").mkdir()
    (root / "fma_metadata" / "tracks.csv").write_text("\n".join([*lines, ""]))
    (root / "fma_small" / "000").mkdir(parents=True)
    for number in (2, 5):
        (root / "fma_small" / "000" / f"{number:06d}.mp3").write_bytes(b"audio")
    return {"root": str(root)}


def _fma_features(root: Path) -> Options:
    options = _fma(root)
    parts = [name.rsplit("_", 2) for name in STATS518]
    heads = [",".join(["", *(part[i] for part in parts)]) for i in range(3)]
    lines = [",".join([number, *["0.5"] * len(STATS518)]) for number in ("2", "5", "10")]
    (root / "fma_metadata" / "features.csv").write_text("\n".join([*heads, *lines, ""]))
    return options


def _esc50(root: Path) -> Options:
    header = "filename,fold,target,category,esc10,src_file,take"
    lines = ["1-1-A-0.wav,1,0,dog,True,1,A", "5-2-A-41.wav,5,41,chainsaw,True,2,A"]
    (root / "meta").mkdir()
    (root / "meta" / "esc50.csv").write_text("\n".join([header, *lines, ""]))
    (root / "audio").mkdir()
    for line in lines:
        (root / "audio" / line.split(",")[0]).write_bytes(b"audio")
    return {"root": str(root)}


def _urbansound8k(root: Path) -> Options:
    lines = [
        "slice_file_name,fsID,start,end,salience,fold,classID,class",
        "100032-3-0-0.wav,100032,0.0,0.317551,1,5,3,dog_bark",
        "100263-2-0-117.wav,100263,58.5,62.5,1,10,2,children_playing",
    ]
    (root / "metadata").mkdir()
    (root / "metadata" / "UrbanSound8K.csv").write_text("\n".join([*lines, ""]))
    for name in ("fold5/100032-3-0-0.wav", "fold10/100263-2-0-117.wav"):
        path = root / "audio" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"audio")
    return {"root": str(root)}


def _speech_commands(root: Path) -> Options:
    names = ("yes/0a7c2a8d_nohash_0.wav", "no/0a7c2a8d_nohash_0.wav", "no/f98b7d2c_nohash_1.wav")
    for name in (*names, "_background_noise_/white_noise.wav"):
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"audio")
    (root / "validation_list.txt").write_text("")
    (root / "testing_list.txt").write_text(names[2] + "\n")
    return {"root": str(root)}


def _fsd50k(root: Path) -> Options:
    truth = root / "FSD50K.ground_truth"
    truth.mkdir()
    (truth / "dev.csv").write_text(
        'fname,labels,mids,split\n64760,"Bark,Dog",m,train\n7,Rain,m,val\n'
    )
    (truth / "eval.csv").write_text('fname,labels,mids\n99,"Dog,Rain",m\n')
    (truth / "vocabulary.csv").write_text("0,Bark,/m/1\n1,Dog,/m/2\n2,Rain,/m/3\n")
    for name in ("dev_audio/64760.wav", "dev_audio/7.wav", "eval_audio/99.wav"):
        path = root / f"FSD50K.{name}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"audio")
    return {"root": str(root)}


def _openmic(root: Path) -> Options:
    rows = ["000046_3840,flute,0.9,3", "000046_3840,drums,0.5,3", "000135_480,piano,1.0,3"]
    header = "sample_key,instrument,relevance,num_responses"
    (root / "openmic-2018-aggregated-labels.csv").write_text("\n".join([header, *rows, ""]))
    (root / "partitions").mkdir()
    (root / "partitions" / "split01_train.csv").write_text("000046_3840\n")
    (root / "partitions" / "split01_test.csv").write_text("000135_480\n")
    (root / "audio" / "000").mkdir(parents=True)
    for key in ("000046_3840", "000135_480"):
        (root / "audio" / "000" / f"{key}.ogg").write_bytes(b"audio")
    return {"root": str(root)}


def _mtt(root: Path) -> Options:
    lines = ['"clip_id"\t"guitar"\t"no voice"\t"mp3_path"', '"2"\t"1"\t"1"\t"f/a.mp3"']
    (root / "annotations_final.csv").write_text("\n".join([*lines, '"6"\t"0"\t"1"\t"0/b.mp3"', ""]))
    for name in ("f/a.mp3", "0/b.mp3"):
        (root / name).parent.mkdir()
        (root / name).write_bytes(b"audio")
    return {"root": str(root)}


def _table(root: Path) -> Options:
    (root / "t.csv").write_text("song,x,label\na,1,rock\na,2,rock\nb,3,jazz\n")
    return {"root": str(root / "t.csv"), "id": "song"}


TREES: dict[str, Callable[[Path], Options]] = {
    "folder": _folder,
    "fsdd": _fsdd,
    "synthetic": _synthetic,
    "synthetic_polyphonic": _synthetic_polyphonic,
    "gtzan": _gtzan,
    "gtzan_features": _gtzan_features,
    "gtzan_images": _gtzan_images,
    "fma": _fma,
    "fma_features": _fma_features,
    "esc50": _esc50,
    "urbansound8k": _urbansound8k,
    "speech_commands": _speech_commands,
    "fsd50k": _fsd50k,
    "openmic": _openmic,
    "mtt": _mtt,
    "table": _table,
}
"""Dataset -> a function that makes a small sample tree in an empty folder and returns the options
of the `Config` that reads it."""

GENERATED_DATASETS = {"synthetic", "synthetic_polyphonic"}
"""Datasets that do not need an existing `root`."""

FOUND = plugins.plugin_names(catalog)


@pytest.mark.parametrize("name", FOUND)
def test_every_dataset_has_a_sample_tree_here(name: str) -> None:
    if name not in TREES:
        pytest.fail(
            f"the contract suite cannot try dataset '{name}': write a function "
            f"`def _{name}(root: Path) -> Options` here that makes a few files of its layout in "
            f"the empty folder `root` and returns the options of its Config, and add it to TREES"
        )


@pytest.fixture(scope="module", params=[name for name in FOUND if name in TREES])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def dataset(name: str) -> ModuleType:
    return plugins.load_plugin(catalog, name, kind="dataset")


@pytest.fixture(scope="module")
def options(name: str, tmp_path_factory: pytest.TempPathFactory) -> Options:
    return TREES[name](tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def table(dataset: ModuleType, options: Options) -> pd.DataFrame:
    made = dataset.tracks(read_config(dataset.Config, options, where="the contract suite"))
    assert isinstance(made, pd.DataFrame)
    return made


def test_the_table_has_the_columns_and_types_of_the_contract(table: pd.DataFrame) -> None:
    assert tuple(table.columns[: len(TRACK_COLUMNS)]) == TRACK_COLUMNS
    numbers = {"fold": "Int64", "duration_s": "float64", "time": "float64"}
    kinds = dict.fromkeys(TRACK_COLUMNS, "str") | numbers
    assert {column: str(table[column].dtype) for column in TRACK_COLUMNS} == kinds
    assert len(table) > 1


@pytest.mark.parametrize("column", ["track_id", "label", "group"])
def test_ids_labels_and_groups_are_not_empty(table: pd.DataFrame, column: str) -> None:
    assert table[column].notna().all()
    assert (table[column].str.strip() == table[column]).all()
    assert (table[column] != "").all()


def test_several_labels_are_joined_as_the_track_table_has_them(table: pd.DataFrame) -> None:
    assert [join_labels(labels_of(text)) for text in table["label"]] == table["label"].tolist()


def test_ids_are_unique_sorted_and_without_local_paths(
    table: pd.DataFrame, options: Options
) -> None:
    assert table["track_id"].is_unique
    assert table["track_id"].is_monotonic_increasing
    assert not table["track_id"].str.contains(str(Path(options["root"]).parent), regex=False).any()


def test_paths_are_existing_files(table: pd.DataFrame) -> None:
    assert all(Path(path).is_file() for path in table["path"].dropna())


def test_splits_and_folds_have_valid_values(table: pd.DataFrame) -> None:
    assert set(table["split"].dropna()) <= {"train", "valid", "test"}
    assert (table["fold"].dropna() >= 0).all()


def test_the_same_tree_gives_the_same_table(
    dataset: ModuleType, options: Options, table: pd.DataFrame
) -> None:
    again = dataset.tracks(read_config(dataset.Config, options, where="the contract suite"))
    pd.testing.assert_frame_equal(again, table)


def test_the_tracks_and_the_files_that_are_none_are_all_files(
    dataset: ModuleType, options: Options, table: pd.DataFrame
) -> None:
    if not hasattr(dataset, "not_read"):
        pytest.skip("it does not account for its files")
    unread = dataset.not_read(read_config(dataset.Config, options, where="the contract suite"))
    assert tuple(unread.columns) == NOT_READ_COLUMNS
    assert set(unread["outcome"]) <= {NOT_READ, IGNORED, NO_TRACK}
    files = {str(path) for path in Path(options["root"]).rglob("*") if path.is_file()}
    assert files == set(table["path"]) | set(unread["path"][unread["outcome"] != NO_TRACK])


def test_info_is_complete(dataset: ModuleType, name: str, table: pd.DataFrame) -> None:
    info = dataset.INFO
    assert info.name == name
    assert all((info.title, info.licence, info.citation, info.homepage))
    names = {name for text in table["label"] for name in labels_of(text)}
    assert not info.labels or names <= set(info.labels)
    assert info.n_tracks is None or info.n_tracks > 0
    assert all(parse_checksum(checksum) for checksum in info.checksums.values())


def test_a_config_is_frozen_and_unknown_keys_raise(dataset: ModuleType, options: Options) -> None:
    made = read_config(dataset.Config, options, where="the contract suite")
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.root = "elsewhere"
    with pytest.raises(UserError, match="unknown key"):
        read_config(dataset.Config, {**options, "rooot": "x"}, where="the contract suite")


def test_a_missing_root_raises_a_user_error(
    dataset: ModuleType, name: str, options: Options, tmp_path: Path
) -> None:
    if name in GENERATED_DATASETS:
        pytest.skip("it creates its folder")
    config = read_config(
        dataset.Config, {**options, "root": str(tmp_path / "missing")}, where="here"
    )
    with pytest.raises(UserError, match="missing"):
        dataset.tracks(config)


def test_a_root_that_is_a_wrong_file_raises_a_user_error(
    dataset: ModuleType, options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "wrong.txt").write_text("no dataset")
    config = read_config(
        dataset.Config, {**options, "root": str(tmp_path / "wrong.txt")}, where="here"
    )
    with pytest.raises(UserError, match=r"wrong\.txt"):
        dataset.tracks(config)


def test_precomputed_features_have_numeric_rows_for_each_track(
    dataset: ModuleType, options: Options
) -> None:
    if not hasattr(dataset, "features"):
        pytest.skip("it has no precomputed features")
    config = read_config(dataset.Config, options, where="the contract suite")
    table = dataset.tracks(config)
    assert table["path"].isna().all()
    for frame in dataset.features(config).values():
        assert frame.index.name == "track_id"
        assert frame.index.unique().tolist() == table["track_id"].tolist()
        assert frame.index.is_monotonic_increasing
        assert frame.columns.is_unique
        assert set(map(str, frame.dtypes)) == {"float64"}
        assert np.isfinite(frame.to_numpy()).all()


def test_the_features_are_those_in_info(dataset: ModuleType, options: Options) -> None:
    brings = hasattr(dataset, "features") or hasattr(dataset, "load")
    assert bool(dataset.INFO.features) == brings
    if hasattr(dataset, "features"):
        config = read_config(dataset.Config, options, where="the contract suite")
        assert tuple(dataset.features(config)) == dataset.INFO.features
