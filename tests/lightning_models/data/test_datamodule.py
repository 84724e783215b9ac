import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from chorale.datasets.errors import UserError
from chorale.lightning_models.data import datamodule
from chorale.lightning_models.data.batches import CropSource, TrainBatches
from chorale.lightning_models.data.datamodule import FoldData, MemoryFrames
from chorale.lightning_models.data.windows import evaluation_windows
from chorale.lightning_models.train_config import TrainConfig

CPU = torch.device("cpu")
LENGTHS = (30, 4, 17, 50, 10, 23)


def store(seed: int = 0) -> MemoryFrames:
    """Tracks whose frame `t` of track `i` holds (i, t, noise), so that a crop shows its origin."""
    rng = np.random.default_rng(seed)
    tracks = [
        np.stack([np.full(n, i), np.arange(n), rng.normal(3, 2, n)]).astype(np.float32)
        for i, n in enumerate(LENGTHS)
    ]
    return MemoryFrames.of(tracks, frame_rate_hz=10.0)


def fold(frames: MemoryFrames | None = None) -> FoldData:
    return FoldData(
        store=frames or store(),
        train_rows=np.array([0, 1, 2, 3]),
        valid_rows=np.array([4]),
        labels=np.array([0, 1, 0, 1, 0, 1]),
        n_classes=2,
    )


def test_statistics_are_of_training_frames() -> None:
    data = fold()
    frames = data.store.frames[: data.store.offsets[4]]
    mean, std = data.statistics(center=False)
    np.testing.assert_allclose(mean, frames.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(std, frames.std(axis=0), rtol=1e-5)


def test_statistics_of_many_frames_use_random_tracks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ten tracks per artist, of which the first is always the loud one."""
    monkeypatch.setattr(datamodule, "STATISTICS_FRAMES", 500)
    loud = np.arange(1000) % 10 == 0
    tracks = [np.full((1, 5), 10.0 * one, np.float32) for one in [*loud, False]]
    frames = MemoryFrames.of(tracks, frame_rate_hz=10.0)
    rows, labels = (np.arange(1000), np.array([1000])), np.zeros(1001, np.int64)
    data = FoldData(frames, *rows, labels=labels, n_classes=1)
    mean = float(data.statistics(center=False)[0])
    assert 0.2 < mean < 2.5  # it is 1; of every tenth track it was 10
    again = FoldData(frames, *rows, labels=labels, n_classes=1)
    assert float(again.statistics(center=False)[0]) == mean


@pytest.mark.parametrize("center", [False, True])
def test_statistics_do_not_depend_on_validation_or_test_rows(center: bool) -> None:
    frames = store()
    clean = fold(frames).statistics(center=center)
    frames.frames[frames.offsets[4] :] = 1e6
    poisoned = fold(frames).statistics(center=center)
    assert all(torch.equal(a, b) for a, b in zip(clean, poisoned, strict=True))


def test_a_constant_bin_has_standard_deviation_1() -> None:
    tracks = [np.full((2, 9), 7.0, np.float32) for _ in range(2)]
    frames = MemoryFrames.of(tracks, frame_rate_hz=1.0)
    rows = np.array([0]), np.array([1])
    data = FoldData(frames, *rows, labels=np.array([0, 0]), n_classes=1)
    assert data.statistics(center=False)[1].tolist() == [1.0, 1.0]


def crops(*, n_frames: int, center: bool = False) -> CropSource:
    data = fold()
    pad = data.statistics(center=center)[0]
    return CropSource(data, n_frames=n_frames, pad=pad, center=center, device=CPU)


def test_centring_removes_a_tracks_loudness() -> None:
    x = crops(n_frames=50, center=True).gather(torch.tensor([3]), torch.tensor([0]))
    torch.testing.assert_close(x.mean(dim=3), torch.zeros(1, 1, 3), atol=1e-5, rtol=0)


def test_a_crop_has_consecutive_frames_of_its_track() -> None:
    x = crops(n_frames=5).gather(torch.tensor([3, 0]), torch.tensor([40, 7]))
    assert x.shape == (2, 1, 3, 5)
    assert x[:, 0, 0].tolist() == [[3.0] * 5, [0.0] * 5]
    assert x[:, 0, 1].tolist() == [[40.0, 41, 42, 43, 44], [7.0, 8, 9, 10, 11]]


def test_a_frames_values_are_split_into_channels() -> None:
    track = np.arange(12, dtype=np.float32).reshape(6, 2)  # two channels of three bins, two frames
    frames = MemoryFrames.of([track, track], frame_rate_hz=1.0, n_channels=2)
    data = FoldData(frames, np.array([0]), np.array([1]), np.array([0, 0]), 1)
    assert data.input_shape(2.0) == (2, 3, 2)
    source = CropSource(data, n_frames=2, pad=torch.zeros(6), center=False, device=CPU)
    x = source.gather(torch.tensor([0]), torch.tensor([0]))
    assert torch.equal(x[0], torch.from_numpy(track).view(2, 3, 2))


def test_a_tables_crops_are_single_rows() -> None:
    frames = MemoryFrames.of([np.ones((4, n), np.float32) for n in (9, 1)], frame_rate_hz=0.0)
    data = FoldData(frames, np.array([0]), np.array([1]), np.array([0, 0]), 1)
    assert data.is_table
    assert data.input_shape(30.0) == (1, 4, 1)


def test_a_short_track_is_padded_with_the_training_mean() -> None:
    x = crops(n_frames=8).gather(torch.tensor([1]), torch.tensor([-3]))[0, 0]  # it has 4 frames
    mean = fold().statistics(center=False)[0]
    assert x[1, 3:7].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert torch.equal(x[:, :3], mean.unsqueeze(1).expand(3, 3))
    assert torch.equal(x[:, 7], mean)


def test_training_crops_stay_within_their_tracks_and_keep_their_labels() -> None:
    data = fold()
    pad = data.statistics(center=False)[0][0]
    settings = TrainConfig(batch_size=3, crops_per_track=5)
    for x, labels in TrainBatches(data, settings, n_frames=12, seed=0):
        track = x[:, 0, 0]
        for row, label in zip(track, labels, strict=True):
            (origin,) = set(row[row != pad].tolist())  # one track, and nothing of the next
            assert label == data.labels[int(origin)]


def test_batches_depend_on_seed_and_epoch_alone() -> None:
    def epochs(seed: int) -> list[torch.Tensor]:
        batches = TrainBatches(fold(), TrainConfig(batch_size=4), n_frames=6, seed=seed)
        return [x for _ in range(2) for x, _ in batches]

    first, again, other = epochs(1), epochs(1), epochs(2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], other[0])
    resumed = TrainBatches(fold(), TrainConfig(batch_size=4), n_frames=6, seed=1)
    resumed.epoch = 1
    assert torch.equal(next(iter(resumed))[0], first[1])


@pytest.mark.parametrize(
    ("n_tracks", "batch_size", "expected"),
    [(10, 4, [4, 4]), (11, 4, [4, 4, 4]), (3, 64, [3]), (1, 8, [2]), (8, 4, [4, 4])],
)
def test_all_batches_have_the_same_size(
    n_tracks: int, batch_size: int, expected: list[int]
) -> None:
    tracks = [np.zeros((1, 5), np.float32) for _ in range(n_tracks + 1)]
    data = FoldData(
        store=MemoryFrames.of(tracks, frame_rate_hz=1.0),
        train_rows=np.arange(n_tracks),
        valid_rows=np.array([n_tracks]),
        labels=np.zeros(n_tracks + 1, np.int64),
        n_classes=1,
    )
    batches = TrainBatches(data, TrainConfig(batch_size=batch_size), n_frames=5, seed=0)
    assert [len(x) for x, _ in batches] == expected
    assert len(batches) == len(expected)


def test_an_epoch_draws_every_track_before_any_twice() -> None:
    batches = TrainBatches(fold(), TrainConfig(batch_size=2), n_frames=4, seed=3)
    seen = torch.cat([x[:, 0, 0, 0] for x, _ in batches])
    assert sorted(seen.tolist()) == [0.0, 1.0, 2.0, 3.0]


def test_windows_cover_each_track_from_end_to_end() -> None:
    lengths = np.array(LENGTHS)
    seen = evaluation_windows(lengths, np.array([3, 0, 2]), n_frames=8, n_windows=20)
    for i, row in enumerate([3, 0, 2]):
        starts = seen.start[seen.track == i]
        covered = {int(s) + t for s in starts for t in range(8)}
        assert covered == set(range(lengths[row]))
    assert seen.row.tolist() == np.array([3, 0, 2])[seen.track].tolist()


def test_the_number_of_windows_is_limited_and_they_reach_both_ends() -> None:
    seen = evaluation_windows(np.array([100]), np.array([0]), n_frames=8, n_windows=3)
    assert seen.start.tolist() == [0, 46, 92]


def test_a_track_shorter_than_a_window_is_centred_in_it() -> None:
    assert evaluation_windows(
        np.array([4]), np.array([0]), n_frames=8, n_windows=3
    ).start.tolist() == [-2]


def test_crops_are_no_longer_than_the_longest_training_track() -> None:
    assert fold().input_shape(1.2) == (1, 3, 12)
    assert fold().input_shape(60.0) == (1, 3, 50)


def test_a_crop_shorter_than_a_frame_is_refused() -> None:
    with pytest.raises(UserError, match=r"crop_s=0.01 is shorter than one frame \(0.1000 s\)"):
        fold().input_shape(0.01)


def test_labels_outside_the_class_list_are_refused() -> None:
    with pytest.raises(UserError, match=r"must be in 0..1 for n_classes=2, but got 0..2"):
        FoldData(store(), np.array([0]), np.array([1]), labels=np.array([0, 2]), n_classes=2)


@pytest.mark.parametrize(
    ("train", "valid", "kind"), [([], [1], "training"), ([0], [], "validation")]
)
def test_a_fold_without_training_or_validation_rows_is_refused(
    train: list[int], valid: list[int], kind: str
) -> None:
    rows = (np.array(train, dtype=np.int64), np.array(valid, dtype=np.int64))
    with pytest.raises(UserError, match=f"a fold has no {kind} tracks"):
        FoldData(store(), *rows, labels=np.zeros(6, np.int64), n_classes=1)


def test_a_read_only_memory_map_is_not_copied_and_gives_no_warning(tmp_path: Path) -> None:
    made = store()
    np.save(tmp_path / "frames.npy", made.frames)
    mapped = np.load(tmp_path / "frames.npy", mmap_mode="r")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frames = fold(MemoryFrames(mapped, made.offsets, 10.0)).frames_for(CPU)
    assert frames.data_ptr() == mapped.ctypes.data
