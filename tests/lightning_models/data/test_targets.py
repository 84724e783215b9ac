"""Soft targets replace the labels in training, only there, and resuming stays exact."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chorale.datasets.errors import UserError
from chorale.lightning_models.architectures import cnn, mlp
from chorale.lightning_models.data.datamodule import FoldData, MemoryFrames
from chorale.lightning_models.data.examples import make_examples
from chorale.lightning_models.train_config import TrainConfig
from chorale.lightning_models.training.fit import TrainedNetwork, train_network
from chorale.lightning_models.training.module import GenreClassifier

N_BINS, N_CLASSES, N = 12, 3, 48


def fold(*, soft: bool, seed: int = 0) -> FoldData:
    """Class `c` is loud in bins 4c to 4c + 3; only training rows have targets."""
    rng = np.random.default_rng(seed)
    labels = np.arange(N) % N_CLASSES
    tracks = []
    for label in labels:
        track = rng.normal(-30, 5, (N_BINS, int(rng.integers(10, 40))))
        track[4 * label : 4 * label + 4] += 10
        tracks.append(track.astype(np.float32))
    rows = np.arange(N)
    train_rows, valid_rows = rows[:30], rows[30:42]  # and six that nobody looks at
    targets = None
    if soft:
        targets = np.full((N, N_CLASSES), np.nan, np.float32)
        targets[train_rows] = rng.dirichlet(np.ones(N_CLASSES), len(train_rows))
    return FoldData(
        store=MemoryFrames.of(tracks, frame_rate_hz=20.0),
        train_rows=train_rows,
        valid_rows=valid_rows,
        labels=labels,
        n_classes=N_CLASSES,
        targets=targets,
    )


def fit(data: FoldData, *, settings: dict[str, Any] | None = None, **more: Any) -> TrainedNetwork:
    values: dict[str, Any] = {"max_epochs": 6, "crop_s": 1.0, "batch_size": 8, "lr": 3e-3}
    arguments: dict[str, Any] = {"on_epoch": lambda epoch, scores: False, "log_dir": None, **more}
    return train_network(
        architecture="cnn",
        config=cnn.Config(n_layers=2, width=8, dense=16),
        train_config=TrainConfig(**{**values, **(settings or {})}),
        data=data,
        seed=0,
        keep="last",
        **arguments,
    )


def weights(trained: TrainedNetwork) -> dict[str, torch.Tensor]:
    return dict(trained.module.state_dict())


def same(a: TrainedNetwork, b: TrainedNetwork) -> bool:
    return all(torch.equal(value, weights(b)[name]) for name, value in weights(a).items())


def test_soft_targets_change_the_weights_and_only_those_of_training_rows_are_read() -> None:
    soft, hard = fit(fold(soft=True)), fit(fold(soft=False))
    assert not same(soft, hard)
    assert all(torch.isfinite(value).all() for value in weights(soft).values())
    assert np.isfinite(soft.proba).all()


@pytest.mark.parametrize(
    "settings",
    [
        {"mixup_alpha": 0.4, "label_smoothing": 0.1},
        {"balance": "class_weights"},
        {"mixup_alpha": 0.4, "balance": "class_weights"},
        {"balance": "sampling"},
        {"random_crop": False},
    ],
)
def test_one_hot_targets_train_like_labels(settings: dict[str, Any]) -> None:
    hard = fold(soft=False)
    soft = replace(hard, targets=np.eye(N_CLASSES, dtype=np.float32)[hard.labels])
    a, b = fit(hard, settings=settings), fit(soft, settings=settings)
    losses = [[epoch["train_loss"] for epoch in one.history] for one in (a, b)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert np.abs(a.proba - b.proba).max() < 5e-3


def test_the_loss_of_micro_batches_uses_targets() -> None:
    whole, sliced = fit(fold(soft=True)), fit(fold(soft=True), n_slices=2)
    assert whole.history[0]["train_loss"] == pytest.approx(sliced.history[0]["train_loss"], rel=0.1)


def test_mixup_blends_soft_targets() -> None:
    module = GenreClassifier(
        architecture="mlp",
        config=mlp.Config(n_layers=1, width=8),
        train_config=TrainConfig(),
        input_shape=(1, 4, 1),
        n_classes=3,
    )
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.5, 1.0, 0.0]])
    targets = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    keep = torch.tensor([0.75, 0.5])
    found = module.classification_loss(logits, targets, (targets.roll(1, dims=0), keep))
    mixed = keep[:, None] * targets + (1 - keep[:, None]) * targets.flip(0)
    expected = -(mixed * logits.log_softmax(dim=1)).sum(dim=1).mean()
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_a_resumed_training_with_targets_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    settings = {"mixup_alpha": 0.3, "balance": "sampling"}
    whole = fit(fold(soft=True), settings=settings)
    state = {"resume_from": tmp_path, "save_to": tmp_path, "save_every": 1}
    first = fit(fold(soft=True), settings=settings, on_epoch=lambda e, _: e == 3, **state)
    second = fit(fold(soft=True), settings=settings, **state)
    assert first.stopped
    assert second.resumed_after == 2
    assert same(whole, second)
    with pytest.raises(UserError, match="targets was"):
        fit(fold(soft=False), settings=settings, **state)


def test_synthetic_rows_keep_their_labels() -> None:
    rng = np.random.default_rng(0)
    labels = np.array([0] * 12 + [1] * 4 + [0, 1])
    rows = [rng.normal(label, 1, (5, 2)).astype(np.float32) for label in labels]
    targets = np.full((18, 2), 0.5, np.float32)
    data = FoldData(
        store=MemoryFrames.of(rows, frame_rate_hz=0.0),
        train_rows=np.arange(16),
        valid_rows=np.arange(16, 18),
        labels=labels,
        n_classes=2,
        targets=targets,
    )
    settings = TrainConfig(balance="sampling", synthetic=True)
    made = make_examples(data, settings, n_frames=1, seed=0)
    assert made.targets is not None
    assert (made.targets[:32] == 0.5).all()
    assert (made.targets[32:] == [0, 1]).all()
    assert len(made.targets) == len(made.labels) == 48
    _, _, drawn = made.draw(10, np.random.default_rng(0), np.random.default_rng(1))
    assert drawn.shape == (10, 2)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (np.full((N, 2), 0.5, np.float32), "n_tracks, n_classes"),
        (np.full((N, N_CLASSES), 0.5, np.float32), "sum to 1"),
        (np.full((N, N_CLASSES), np.nan, np.float32), "sum to 1"),
    ],
)
def test_targets_that_are_not_class_probabilities_are_refused(
    targets: np.ndarray, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        replace(fold(soft=False), targets=targets)
