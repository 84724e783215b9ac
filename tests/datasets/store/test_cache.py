import json
import pickle
import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pytest
import soundfile

from chorale.datasets import audio, chunks
from chorale.datasets.base import track_table
from chorale.datasets.errors import UserError
from chorale.datasets.features import mel, mfcc
from chorale.datasets.store.cache import build_feature_store
from chorale.datasets.store.feature_store import FeatureStore

T = TypeVar("T")
R = TypeVar("R")
RATE = 8_000
CONFIG = mel.Config(sample_rate=RATE, n_fft=256, hop_length=128, n_mels=16)


class Counting:
    """A `ChunkMap` that counts the tracks it computes, and raises after `stop_after` chunks."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.chunks: list[int] = []
        self.stop_after = stop_after

    def __call__(self, work: Callable[[T], R], todo: Sequence[T], /) -> Iterable[R]:
        for chunk in todo:
            if len(self.chunks) == self.stop_after:
                raise KeyboardInterrupt
            assert isinstance(chunk, Sequence)
            self.chunks.append(len(chunk))
            yield work(chunk)


def record(folder: Path, names: Iterable[str], *, seed: int = 0) -> pd.DataFrame:
    """Writes a different waveform for each name; returns the audited table of all files."""
    for name in names:
        rng = np.random.default_rng([seed, *name.encode()])
        n_samples = int(rng.integers(500, 3000))
        soundfile.write(folder / f"{name}.wav", rng.uniform(-0.5, 0.5, n_samples), RATE)
    return audited(folder)


def audited(folder: Path) -> pd.DataFrame:
    paths = sorted(folder.glob("*.wav"))
    rows = [{"track_id": p.stem, "path": str(p), "label": "x", "group": p.stem} for p in paths]
    return track_table(rows).assign(
        duration_s=[len(audio.load_audio(path)[0]) / RATE for path in paths],
        content=[audio.content_hash(path) for path in paths],
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "audio").mkdir()
    return tmp_path / "audio"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(chunks, "CHUNK_TRACKS", 2)
    return tmp_path / "cache"


def assert_direct(store: FeatureStore, tracks: pd.DataFrame, config: Any = CONFIG) -> None:
    """Every row equals the features extracted from that track's file."""
    extractor = {"mel": mel, "mfcc": mfcc}[store.feature]
    for row, path in zip(store.rows(tracks["track_id"]), tracks["path"], strict=True):
        waveform, _ = audio.load_audio(path, sample_rate=config.sample_rate)
        frames = store.frames[store.offsets[row] : store.offsets[row + 1]]
        np.testing.assert_array_equal(frames.T, extractor.extract(waveform, config))


def only_stores(root: Path, n: int) -> None:
    """`root` contains `n` complete stores and nothing else."""
    names = sorted(str(p.relative_to(root)).partition("/")[2] for p in root.rglob("*"))
    parts = ["frames.npy", "manifest.json", "offsets.npy", "tracks.json"]
    assert names == sorted(["", *parts] * n)


def test_a_store_equals_direct_extraction(folder: Path, root: Path) -> None:
    tracks = record(folder, "abcde")
    store = build_feature_store(tracks, "mel", CONFIG, root=root)
    assert_direct(store, tracks)
    assert store.track_ids == tuple("abcde")
    assert (store.feature, store.n_bins, store.frame_rate_hz) == ("mel", 16, 62.5)
    assert store.frames.dtype == np.float32
    assert store.offsets.dtype == np.int64
    assert store.frames.shape == (store.offsets[-1], 16)
    assert store.offsets.shape == (6,)
    assert store.lengths.tolist() == np.diff(store.offsets).tolist()
    only_stores(root, 1)


def test_audio_at_another_rate_is_resampled(folder: Path, root: Path) -> None:
    tracks = record(folder, "ab")
    config = mfcc.Config(sample_rate=16_000, n_fft=512, hop_length=256, n_mels=20)
    assert_direct(build_feature_store(tracks, "mfcc", config, root=root), tracks, config)


def test_frames_are_a_read_only_memory_map(folder: Path, root: Path) -> None:
    store = build_feature_store(record(folder, "ab"), "mel", CONFIG, root=root)
    base: Any = store.frames
    while base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        store.frames[0, 0] = 1.0


def test_a_second_build_computes_nothing(folder: Path, root: Path) -> None:
    tracks = record(folder, "abc")
    first, second = Counting(), Counting()
    one = build_feature_store(tracks, "mel", CONFIG, root=root, run=first)
    for path in folder.iterdir():
        path.unlink()
    two = build_feature_store(tracks, "mel", CONFIG, root=root, run=second)
    assert (first.chunks, second.chunks) == ([2, 1], [])
    assert one.folder == two.folder
    assert one.folder.parent == root


def test_progress_counts_the_files(folder: Path, root: Path) -> None:
    seen: list[tuple[int, int]] = []
    tracks = record(folder, "abcde")
    build_feature_store(
        tracks, "mel", CONFIG, root=root, on_chunk=lambda *counts: seen.append(counts)
    )
    assert seen == [(2, 5), (4, 5), (5, 5)]


def test_long_files_are_in_smaller_chunks(
    folder: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CHUNK_TRACKS", 32)
    tracks = record(folder, "abcde")
    tracks["duration_s"] = [700.0, 700.0, 700.0, 4000.0, 1.0]
    run = Counting()
    assert_direct(build_feature_store(tracks, "mel", CONFIG, root=root, run=run), tracks)
    assert run.chunks == [2, 1, 1, 1]


def test_an_interrupted_build_is_resumed(folder: Path, root: Path) -> None:
    tracks = record(folder, "abcdefg")
    with pytest.raises(KeyboardInterrupt):
        build_feature_store(tracks, "mel", CONFIG, root=root, run=Counting(stop_after=2))
    assert not list(root.glob("*/manifest.json"))
    again = Counting()
    store = build_feature_store(tracks, "mel", CONFIG, root=root, run=again)
    assert sum(again.chunks) == 3
    assert_direct(store, tracks)
    only_stores(root, 1)


def test_a_build_for_other_tracks_uses_and_keeps_chunks_of_an_interrupted_one(
    folder: Path, root: Path
) -> None:
    tracks = record(folder, "abcdefg")
    with pytest.raises(KeyboardInterrupt):
        build_feature_store(tracks, "mel", CONFIG, root=root, run=Counting(stop_after=2))
    fewer, rest = Counting(), Counting()
    assert_direct(
        build_feature_store(tracks[2:6], "mel", CONFIG, root=root, run=fewer), tracks[2:6]
    )
    assert sum(fewer.chunks) == 2  # e and f; c and d were there
    assert_direct(build_feature_store(tracks, "mel", CONFIG, root=root, run=rest), tracks)
    assert sum(rest.chunks) == 1  # g; a and b lay in a chunk, c to f in the other store
    only_stores(root, 2)


def test_files_of_a_killed_process_do_no_harm(folder: Path, root: Path) -> None:
    tracks = record(folder, "abc")
    with pytest.raises(KeyboardInterrupt):
        build_feature_store(tracks, "mel", CONFIG, root=root, run=Counting(stop_after=1))
    (work,) = root.iterdir()
    (work / ".half.npz").write_bytes(b"half")
    (work / "store").mkdir()
    (work / "store" / "frames.npy").write_bytes(b"half")
    assert_direct(build_feature_store(tracks, "mel", CONFIG, root=root), tracks)
    only_stores(root, 1)


def test_only_a_new_track_is_computed(folder: Path, root: Path) -> None:
    old = build_feature_store(record(folder, "bcd"), "mel", CONFIG, root=root)
    tracks, run = record(folder, "a"), Counting()
    new = build_feature_store(tracks, "mel", CONFIG, root=root, run=run)
    assert run.chunks == [1]
    assert new.folder != old.folder
    assert_direct(new, tracks)
    assert_direct(old, tracks[1:])


def test_only_changed_content_is_computed(folder: Path, root: Path) -> None:
    old = build_feature_store(record(folder, "abc"), "mel", CONFIG, root=root)
    tracks, run = record(folder, "b", seed=1), Counting()
    new = build_feature_store(tracks, "mel", CONFIG, root=root, run=run)
    assert run.chunks == [1]
    assert new.folder != old.folder
    assert_direct(new, tracks)


def test_features_of_renamed_tracks_are_copied(folder: Path, root: Path) -> None:
    build_feature_store(record(folder, "abc"), "mel", CONFIG, root=root)
    (folder / "a.wav").rename(folder / "z.wav")
    tracks, run = audited(folder), Counting()
    store = build_feature_store(tracks, "mel", CONFIG, root=root, run=run)
    assert run.chunks == []
    assert store.track_ids == ("b", "c", "z")
    assert_direct(store, tracks)


def test_equal_content_is_computed_once(folder: Path, root: Path) -> None:
    record(folder, "abcd")
    shutil.copy(folder / "a.wav", folder / "e.wav")
    tracks, run = audited(folder), Counting()
    store = build_feature_store(tracks, "mel", CONFIG, root=root, run=run)
    assert sum(run.chunks) == 4
    assert_direct(store, tracks)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: mel.Config(sample_rate=RATE, n_fft=256, hop_length=64, n_mels=16),
        lambda m: m.setattr(mel, "VERSION", 99) or CONFIG,
        lambda m: m.setattr(audio, "DECODER_VERSION", 99) or CONFIG,
    ],
    ids=["config", "version of the feature", "version of the decoder"],
)
def test_another_recipe_is_computed_again(
    folder: Path, root: Path, monkeypatch: pytest.MonkeyPatch, change: Any
) -> None:
    tracks, run = record(folder, "abc"), Counting()
    old = build_feature_store(tracks, "mel", CONFIG, root=root)
    new = build_feature_store(tracks, "mel", change(monkeypatch), root=root, run=run)
    assert sum(run.chunks) == 3
    assert new.folder != old.folder


def test_rows_follow_the_given_order_and_unknown_tracks_raise(folder: Path, root: Path) -> None:
    store = build_feature_store(record(folder, "abc"), "mel", CONFIG, root=root)
    assert store.rows(["c", "a"]).tolist() == [2, 0]
    assert store.rows([]).dtype == np.int64
    with pytest.raises(UserError, match=r"1 of 2 tracks .* 'unknown'; run the sweep again"):
        store.rows(["a", "unknown"])


def test_opening_does_not_read_the_track_ids(folder: Path, root: Path) -> None:
    made = build_feature_store(record(folder, "abc"), "mel", CONFIG, root=root).folder
    (made / "tracks.json").rename(made / "elsewhere.json")
    store = FeatureStore.open(made)
    assert store.frames.shape[1] == 16
    with pytest.raises(UserError, match="damaged"):
        store.rows(["a"])


def test_a_store_is_pickled_as_its_folder(folder: Path, root: Path) -> None:
    store = build_feature_store(record(folder, "abc"), "mel", CONFIG, root=root)
    sent = pickle.dumps(store)
    assert len(sent) < 500
    np.testing.assert_array_equal(pickle.loads(sent).frames, store.frames)


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("manifest.json", "{}"),
        ("manifest.json", "half"),
        ("frames.npy", ""),
        ("offsets.npy", "half"),
    ],
)
def test_a_damaged_store_raises(folder: Path, root: Path, part: str, text: str) -> None:
    tracks = record(folder, "ab")
    made = build_feature_store(tracks, "mel", CONFIG, root=root).folder
    (made / part).write_text(text)
    with pytest.raises(UserError, match=r"is damaged .* remove that folder"):
        FeatureStore.open(made)
    assert_direct(build_feature_store(tracks[:1], "mel", CONFIG, root=root), tracks[:1])


def test_a_truncated_store_raises(folder: Path, root: Path) -> None:
    made = build_feature_store(record(folder, "ab"), "mel", CONFIG, root=root).folder
    data = (made / "frames.npy").read_bytes()
    (made / "frames.npy").write_bytes(data[:-64])
    with pytest.raises(UserError, match="is damaged"):
        FeatureStore.open(made)


def test_a_missing_store_raises(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no feature store in"):
        FeatureStore.open(tmp_path)


def test_a_file_that_changes_during_the_build_raises_with_its_name(
    folder: Path, root: Path
) -> None:
    tracks = record(folder, "abc")
    record(folder, "b", seed=1)
    with pytest.raises(UserError, match=r"b\.wav has changed since it was audited"):
        build_feature_store(tracks, "mel", CONFIG, root=root)
    (folder / "b.wav").unlink()
    with pytest.raises(UserError, match=r"b\.wav: missing"):
        build_feature_store(tracks, "mel", CONFIG, root=root)


def test_an_undecodable_file_raises_with_its_name(folder: Path, root: Path) -> None:
    record(folder, "ab")
    tracks = audited(folder)
    (folder / "b.wav").write_bytes(b"noise" * 100)
    tracks["content"] = [audio.content_hash(path) for path in tracks["path"]]
    with pytest.raises(UserError, match=r"'mel': cannot read .*b\.wav: undecodable"):
        build_feature_store(tracks, "mel", CONFIG, root=root)


def test_an_unknown_feature_set_suggests_the_nearest(folder: Path, root: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'mfcc'"):
        build_feature_store(record(folder, "a"), "mfc", CONFIG, root=root)


def test_a_process_pool_builds_the_same_store(folder: Path, root: Path) -> None:
    tracks = record(folder, "abcdef")
    with ProcessPoolExecutor(2) as pool:
        store = build_feature_store(tracks, "mel", CONFIG, root=root, run=pool.map)
    assert_direct(store, tracks)
    only_stores(root, 1)


def test_two_processes_that_build_the_same_store_make_one(folder: Path, root: Path) -> None:
    tracks = record(folder, "abcdef")
    with ProcessPoolExecutor(2) as pool:
        jobs = [
            pool.submit(partial(build_feature_store, tracks, "mel", CONFIG, root=root))
            for _ in range(4)
        ]
        folders = {job.result().folder for job in jobs}
    assert len(folders) == 1
    only_stores(root, 1)


def test_the_manifest_describes_the_store(folder: Path, root: Path) -> None:
    store = build_feature_store(record(folder, "ab"), "mel", CONFIG, root=root)
    manifest = json.loads((store.folder / "manifest.json").read_text())
    assert (manifest["feature"], manifest["version"]) == ("mel", mel.VERSION)
    assert manifest["config"]["hop_length"] == 128
