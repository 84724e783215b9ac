"""Sampling of training examples; synthetic rows are never used outside training."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from chorale.datasets.errors import UserError
from chorale.lightning_models.architectures import mlp
from chorale.lightning_models.data.batches import TrainBatches
from chorale.lightning_models.data.datamodule import FoldData, MemoryFrames
from chorale.lightning_models.data.windows import evaluation_windows
from chorale.lightning_models.train_config import TrainConfig
from chorale.lightning_models.training.fit import train_network
from chorale.lightning_models.training.predict import predict

N_COLUMNS, N_CLASSES = 5, 3
SENTINEL = 1e6
SMOTE: dict[str, Any] = {"balance": "sampling", "synthetic": True}


def table(poison: float | None = None) -> FoldData:
    """Tracks of one to four rows; class 0 is common, class 2 rare. Test rows are in neither part.

    With `poison`, all rows that are not for training hold that number, and no other.
    """
    rng = np.random.default_rng(0)
    labels = np.array([0] * 12 + [1] * 4 + [2] * 2 + [0, 1, 2] + [0, 1, 2])
    tracks = []
    for label in labels:
        track = rng.normal(0, 1, (N_COLUMNS, int(rng.integers(1, 5))))
        track[label] += 6
        tracks.append(track.astype(np.float32))
    frames = MemoryFrames.of(tracks, frame_rate_hz=0.0)
    if poison is not None:
        frames.frames[frames.offsets[18] :] = poison
    return FoldData(frames, np.arange(18), np.arange(18, 21), labels, N_CLASSES)


def make_tracks(lengths: tuple[int, ...] = (30, 4, 17, 50, 10, 23, 9)) -> FoldData:
    """Tracks whose frame `t` of track `i` holds (i, t); the last one is for validation."""
    tracks = [
        np.stack([np.full(n, i), np.arange(n)]).astype(np.float32) for i, n in enumerate(lengths)
    ]
    rows = np.arange(len(lengths))
    labels = np.where(rows < 2, 1, 0)
    return FoldData(MemoryFrames.of(tracks, frame_rate_hz=10.0), rows[:-1], rows[-1:], labels, 2)


def epoch(
    data: FoldData, *, number: int = 0, seed: int = 0, n_frames: int = 1, **settings: Any
) -> tuple[Tensor, Tensor]:
    """All crops of an epoch, and their labels."""
    given = TrainConfig(**({"batch_size": 4} | settings))
    batches = TrainBatches(data, given, n_frames=n_frames, seed=seed)
    batches.epoch = number
    x, labels = zip(*batches, strict=True)
    return torch.cat(x), torch.cat(labels)


def rows_of(data: FoldData, tracks: np.ndarray) -> np.ndarray:
    offsets = data.store.offsets
    return np.concatenate([data.store.frames[offsets[i] : offsets[i + 1]] for i in tracks])


def as_set(rows: np.ndarray) -> set[bytes]:
    return {row.tobytes() for row in np.ascontiguousarray(rows)}


def test_an_epoch_of_a_table_has_every_row_of_every_training_track_once() -> None:
    data = table()
    real = rows_of(data, data.train_rows)
    assert len(real) > 2 * len(data.train_rows)
    x, labels = epoch(data, batch_size=len(real))
    assert x.shape == (len(real), 1, N_COLUMNS, 1)
    seen = x[:, 0, :, 0].numpy()
    assert as_set(seen) == as_set(real)
    expected = np.repeat(data.labels[data.train_rows], data.lengths[data.train_rows])
    by_row = {row.tobytes(): label for row, label in zip(real, expected, strict=True)}
    assert [by_row[row.tobytes()] for row in np.ascontiguousarray(seen)] == labels.tolist()


@pytest.mark.parametrize("settings", [{}, SMOTE])
def test_an_epoch_of_a_table_may_take_every_row_several_times(settings: dict[str, Any]) -> None:
    data = table()
    n_rows = len(rows_of(data, data.train_rows))
    x, _ = epoch(data, batch_size=n_rows, crops_per_track=3, **settings)
    assert len(x) == 3 * n_rows
    if not settings:
        _, counts = np.unique(x[:, 0, :, 0].numpy(), axis=0, return_counts=True)
        assert set(counts) == {3}


@pytest.mark.parametrize("data", [table(), make_tracks()])
def test_balanced_sampling_draws_all_classes_equally_often_in_an_epoch_of_the_same_length(
    data: FoldData,
) -> None:
    _, plain = epoch(data, batch_size=2)
    _, labels = epoch(data, batch_size=2, balance="sampling")
    counts = labels.bincount()
    assert len(labels) == len(plain)
    assert counts.max() - counts.min() <= 1
    assert plain.bincount().max() - plain.bincount().min() > 1


@pytest.mark.parametrize("settings", [{"balance": "sampling"}, SMOTE, {"random_crop": False}])
def test_an_epoch_depends_on_seed_and_epoch_number_alone(settings: dict[str, Any]) -> None:
    data = table() if settings is SMOTE else make_tracks()
    first, again, later, other = (
        epoch(data, number=number, seed=seed, n_frames=1, **settings)[0]
        for number, seed in ((2, 0), (2, 0), (3, 0), (2, 1))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("data", [table(), make_tracks()])
def test_class_weights_are_of_an_epochs_examples(data: FoldData) -> None:
    _, labels = epoch(data, batch_size=1000)  # one batch of everything
    weights = torch.from_numpy(data.class_weights())
    sums = labels.bincount(weights[labels])
    torch.testing.assert_close(sums, torch.full_like(sums, len(labels) / len(sums)))


def test_fixed_crops_are_all_evaluation_windows_in_turn() -> None:
    data = make_tracks()
    n_windows = 4
    fixed = evaluation_windows(data.lengths, data.train_rows, n_frames=8, n_windows=n_windows)
    allowed = {
        int(row): {max(0, int(s)) for s in fixed.start[fixed.row == row]} for row in data.train_rows
    }
    x, _ = epoch(
        data, n_frames=8, crops_per_track=n_windows, random_crop=False, n_windows=n_windows
    )
    seen: dict[int, list[int]] = {}
    for crop in x[:, 0]:
        mean = data.statistics(center=False)[0]
        first = crop[:, crop[1] != mean[1]][:, 0]
        seen.setdefault(int(first[0]), []).append(int(first[1]))
    assert {row: set(starts) for row, starts in seen.items()} == allowed
    assert len(allowed[3]) == n_windows
    begins = {
        int(epoch(data, n_frames=8, random_crop=False, number=i)[0][0, 0, 1, 0]) for i in range(9)
    }
    assert len(begins) > 2


def test_synthetic_rows_fill_up_the_rare_classes_of_an_epoch() -> None:
    data = table()
    real = as_set(rows_of(data, data.train_rows))
    x, labels = epoch(data, batch_size=2, **SMOTE)
    is_new = np.array([row.tobytes() not in real for row in x[:, 0, :, 0].numpy().copy()])
    counts = labels.bincount()
    assert counts.max() - counts.min() <= 1
    assert abs(len(labels) - len(real)) <= 1  # an epoch is as long as without them
    assert is_new[labels == 2].mean() > 0.5
    assert not is_new[labels == 0].any()  # the largest class has rows enough


def test_synthetic_rows_are_between_training_rows_of_their_class() -> None:
    data = table(poison=SENTINEL)
    owner = np.repeat(data.labels[data.train_rows], data.lengths[data.train_rows])
    real = rows_of(data, data.train_rows).astype(np.float64)
    for number in range(3):
        x, labels = epoch(data, number=number, batch_size=2, **SMOTE)
        for row, label in zip(x[:, 0, :, 0].double().numpy(), labels.tolist(), strict=True):
            members = real[owner == label]
            a, b = members[:, None], members[None]
            along = ((row - a) * (b - a)).sum(-1) / np.maximum(((b - a) ** 2).sum(-1), 1e-12)
            off = np.abs(row - a - along[..., None].clip(0, 1) * (b - a)).max(-1)
            assert off.min() < 1e-4


def test_batches_with_synthetic_rows_do_not_depend_on_validation_and_test_rows() -> None:
    clean, poisoned = (epoch(table(poison), **SMOTE) for poison in (None, SENTINEL))
    assert torch.equal(clean[0], poisoned[0])
    assert torch.equal(clean[1], poisoned[1])
    assert poisoned[0].abs().max() < 100


def test_statistics_are_of_real_training_rows() -> None:
    data = table(poison=SENTINEL)
    before = [s.clone() for s in data.statistics(center=False)]
    epoch(data, **SMOTE)
    fresh = table(poison=SENTINEL)
    epoch(fresh, **SMOTE)  # before anybody has asked for statistics
    real = rows_of(data, data.train_rows)
    for measured in (before, data.statistics(center=False), fresh.statistics(center=False)):
        np.testing.assert_allclose(measured[0], real.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(measured[1], real.std(axis=0), rtol=1e-5)


def fit(data: FoldData, **settings: Any) -> Any:
    return train_network(
        architecture="mlp",
        config=mlp.Config(),
        train_config=TrainConfig(**({"max_epochs": 2, "batch_size": 8} | settings)),
        data=data,
        seed=0,
        keep="last",
        on_epoch=lambda epoch, scores: False,
        log_dir=None,
    )


def test_training_with_synthetic_rows_does_not_change_validation_and_test_rows() -> None:
    """SMOTE is fitted on the training rows of a fold, and its rows are used only there."""
    clean, poisoned = table(), table(poison=SENTINEL)
    frames, offsets = clean.store.frames.copy(), clean.store.offsets.copy()
    rows, valid, labels = clean.train_rows.copy(), clean.valid_rows.copy(), clean.labels.copy()
    first, second = fit(clean, **SMOTE), fit(poisoned, **SMOTE)
    # what other rows hold has no part in weights and scaler, which are buffers of the module
    states = [list(t.module.state_dict().values()) for t in (first, second)]
    assert all(map(torch.equal, *states))
    # nothing was added to the store, the fold or the evaluated rows
    np.testing.assert_array_equal(clean.store.frames, frames)
    np.testing.assert_array_equal(clean.store.offsets, offsets)
    for now, before in (
        (clean.train_rows, rows),
        (clean.valid_rows, valid),
        (clean.labels, labels),
    ):
        np.testing.assert_array_equal(now, before)
    assert first.proba.shape == (len(valid), N_CLASSES)
    # each probability is the mean over its own track's real rows, and over nothing else
    # to the bit for the same rows; beside other rows a processor rounds otherwise
    np.testing.assert_array_equal(predict(first.module, clean, valid).proba, first.proba)
    test = np.arange(21, 24)
    proba_of_others = predict(first.module, clean, np.concatenate([valid, test])).proba
    for row, proba in zip([*valid, *test], proba_of_others, strict=True):
        own = torch.from_numpy(rows_of(clean, np.array([row])))
        with torch.inference_mode():
            alone = first.module(own.view(-1, 1, N_COLUMNS, 1)).softmax(dim=1).mean(dim=0)
        np.testing.assert_allclose(proba, alone, atol=1e-5)


def test_synthetic_rows_change_the_trained_weights() -> None:
    with_smote, without = (
        fit(table(), balance="sampling", synthetic=synthetic) for synthetic in (True, False)
    )
    pairs = zip(with_smote.module.parameters(), without.module.parameters(), strict=True)
    assert not all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("data", "settings", "words"),
    [
        (make_tracks(), {}, "but these are frames of tracks; write train.synthetic: false"),
        (table(), {"center": True}, "minus their track's mean; write train.center: false"),
    ],
)
def test_synthetic_rows_are_refused_for_tracks_and_centred_tables(
    data: FoldData, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        epoch(data, **SMOTE, **settings)


@pytest.mark.parametrize("balance", ["none", "class_weights"])
def test_without_sampling_there_are_no_synthetic_rows(balance: str) -> None:
    data = table()
    plain, _ = epoch(data)
    same, _ = epoch(data, balance=balance, synthetic=True)
    assert torch.equal(plain, same)


def test_a_stretched_crop_keeps_its_middle_except_at_the_ends_of_a_track() -> None:
    settings: dict[str, Any] = {"n_frames": 9, "crops_per_track": 20}
    plain, stretched = (
        epoch(make_tracks((60, 50, 70, 20)), stretch=share, **settings)[0][:, 0, 1]
        for share in (0.0, 0.2)
    )
    moved = (plain - stretched)[:, 4].abs()
    assert moved.max() < 0.81
    assert (moved < 1e-3).double().mean() > 0.7
    widths = stretched[:, -1] - stretched[:, 0]
    assert 0.8 * 8 <= widths.min() < 0.85 * 8
    assert 1.15 * 8 < widths.max() <= 1.2 * 8
