"""Crops of augmented views: of training tracks only, and each as often as another."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from chorale.lightning_models.architectures import encoder_probe
from chorale.lightning_models.data.batches import TrainBatches
from chorale.lightning_models.data.datamodule import FoldData, MemoryFrames, View
from chorale.lightning_models.data.views import ViewedTracks
from chorale.lightning_models.train_config import TrainConfig
from chorale.lightning_models.training.fit import TrainedNetwork, train_network
from chorale.lightning_models.training.resume import training_identity

N_BINS, N_TRAIN, N_VALID, N_TEST = 3, 8, 3, 2
N = N_TRAIN + N_VALID + N_TEST
N_VIEWS = 3
SETTINGS: dict[str, Any] = {"batch_size": 4, "crop_s": 4.0, "views": True}


def store(view: int, tracks: range) -> MemoryFrames:
    """Frame `f` of view `v` of track `i` is (i, v, f)."""
    frames = [
        np.stack([np.full(n, i), np.full(n, view), np.arange(n)]).astype(np.float32)
        for i in tracks
        for n in [6 + i - view]
    ]
    return MemoryFrames.of(frames, frame_rate_hz=1.0)


def fold(n_views: int = N_VIEWS) -> FoldData:
    """Views lack the test tracks, and their rows are in another order."""
    views = []
    for view in range(1, n_views):
        rows = np.full(N, -1)
        rows[: N_TRAIN + N_VALID] = np.arange(N_TRAIN + N_VALID)[::-1]
        views.append(View(store(view, range(N_TRAIN + N_VALID - 1, -1, -1)), rows))
    return FoldData(
        store=store(0, range(N)),
        train_rows=np.arange(N_TRAIN),
        valid_rows=np.arange(N_TRAIN, N_TRAIN + N_VALID),
        labels=np.arange(N) % 2,
        n_classes=2,
        views=tuple(views),
    )


def crops(data: FoldData, *, epochs: int = 60, **settings: Any) -> torch.Tensor:
    """Every crop of some epochs: (n, n_bins, n_frames)."""
    batches = TrainBatches(data, TrainConfig(**{**SETTINGS, **settings}), n_frames=4, seed=0)
    return torch.cat([x[:, 0] for _ in range(epochs) for x, _ in batches])


@pytest.mark.parametrize("settings", [{}, {"random_crop": False}, {"balance": "sampling"}])
def test_only_training_tracks_are_drawn_each_view_as_often(settings: dict[str, Any]) -> None:
    found = crops(fold(), **settings)
    track, view, frame = found[:, 0], found[:, 1], found[:, 2]
    assert (track == track[:, :1]).all(), "a crop is of one track"
    assert (view == view[:, :1]).all(), "and of one view"
    assert (frame.diff(dim=1) == 1).all()
    assert set(track[:, 0].tolist()) == set(range(N_TRAIN)), "none of validation or test"
    counts = torch.bincount(view[:, 0].long(), minlength=N_VIEWS) / len(found)
    assert ((counts - 1 / N_VIEWS).abs() < 0.08).all()
    last = track[:, 0] + 5 - view[:, 0]  # of the track in this view, which may be shorter
    assert (frame[:, -1] <= last).all()
    assert (frame[:, -1] == last).any()


def test_labels_are_those_of_the_track_in_every_view() -> None:
    batches = TrainBatches(fold(), TrainConfig(**SETTINGS), n_frames=4, seed=0)
    for x, labels in batches:
        assert (x[:, 0, 0, 0].long() % 2 == labels).all()


def test_without_the_setting_views_change_nothing() -> None:
    torch.testing.assert_close(crops(fold(), views=False), crops(fold(1), views=False))
    assert (crops(fold(), views=False)[:, 1] == 0).all()
    torch.testing.assert_close(crops(fold(1), views=True), crops(fold(1), views=False))


def test_an_epoch_depends_on_its_number_alone() -> None:
    first, second = (
        TrainBatches(fold(), TrainConfig(**SETTINGS), n_frames=4, seed=0) for _ in range(2)
    )
    list(first)
    second.epoch = 1
    for (x, _), (y, _) in zip(first, second, strict=True):
        torch.testing.assert_close(x, y)


def test_a_centred_crop_is_centred_by_the_mean_of_its_own_view() -> None:
    found = crops(fold(), center=True)
    torch.testing.assert_close(found[:, :2], torch.zeros_like(found[:, :2]))


def test_stretched_crops_stay_in_their_view() -> None:
    found = crops(fold(), stretch=0.2)
    assert set(found[:, 0].flatten().tolist()) == set(range(N_TRAIN))
    assert (found[:, 1] == found[:, 1, :1]).all()


def test_a_view_that_lacks_a_training_track_raises() -> None:
    data = fold()
    rows = data.views[0].rows.copy()
    rows[2] = -1
    with pytest.raises(ValueError, match="lacks training tracks"):
        replace(data, views=(View(data.views[0].store, rows),))


def test_the_frames_of_a_fold_and_its_views_are_copied_to_a_device_once() -> None:
    """Each training made its own copy of all of them on a GPU."""
    data, device = fold(), torch.device("cpu")
    first, second = (ViewedTracks.of(data).frame_parts(device) for _ in range(2))
    assert len(first) == N_VIEWS
    assert all(a is b for a, b in zip(first, second, strict=True))
    assert first[0] is data.frames_for(device)


def noisy(*, poisoned: bool) -> FoldData:
    """Two classes; where poisoned, the views of tracks that are not trained on are not finite."""
    rng = np.random.default_rng(0)

    def frames(spoil: bool) -> MemoryFrames:
        made = rng.normal(np.arange(N)[:, None, None] % 2, 1.0, (N, N_BINS, 6)).astype(np.float32)
        if spoil:
            made[N_TRAIN:] = np.nan
        return MemoryFrames.of(list(made), frame_rate_hz=1.0)

    return replace(fold(), store=frames(False), views=(View(frames(poisoned), np.arange(N)),))


def fit(data: FoldData, **settings: Any) -> TrainedNetwork:
    return train_network(
        architecture="encoder_probe",
        config=encoder_probe.Config(),
        train_config=TrainConfig(**{**SETTINGS, "max_epochs": 4, **settings}),
        data=data,
        seed=0,
        keep="best",
        on_epoch=lambda epoch, scores: False,
        log_dir=None,
    )


def test_views_of_validation_tracks_are_never_read() -> None:
    """Neither by training, nor by the normalization, the validation or the choice of an epoch."""
    clean, poisoned = (fit(noisy(poisoned=spoiled)) for spoiled in (False, True))
    np.testing.assert_array_equal(clean.proba, poisoned.proba)
    assert np.isfinite(poisoned.proba).all()
    without = fit(noisy(poisoned=False), views=False)
    assert not np.allclose(without.proba, clean.proba), "but those of training tracks are"


def test_the_training_state_of_an_earlier_version_still_fits() -> None:
    trained = fit(noisy(poisoned=False), views=False)
    identity = training_identity(trained.module, noisy(poisoned=False))
    assert not [name for name in identity if "views" in name]
    viewed = fit(noisy(poisoned=False))
    assert training_identity(viewed.module, noisy(poisoned=False))["n_views"] == 2
