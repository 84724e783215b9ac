"""Gradient accumulation over micro-batches: the same steps with less memory."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chorale.lightning_models.architectures import cnn, softmax_regression
from chorale.lightning_models.data.datamodule import FoldData, MemoryFrames
from chorale.lightning_models.train_config import TrainConfig
from chorale.lightning_models.training.fit import TrainedNetwork, train_network
from chorale.lightning_models.training.module import GenreClassifier

PLAIN = {"max_epochs": 3, "crop_s": 1.0, "batch_size": 6, "optimizer": "sgd"}
BLENDED = {"mixup_alpha": 0.4, "label_smoothing": 0.1, "balance": "class_weights", "n_masks": 1}


def fold(*, n: int = 30) -> FoldData:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    tracks = [rng.normal(10 * label, 8, (12, 25)).astype(np.float32) for label in labels]
    rows = np.arange(n)
    store = MemoryFrames.of(tracks, frame_rate_hz=20.0)
    return FoldData(
        store=store, train_rows=rows[:20], valid_rows=rows[20:], labels=labels, n_classes=3
    )


def fit(architecture: str, config: Any, settings: dict[str, Any], **changes: Any) -> TrainedNetwork:
    return train_network(
        architecture=architecture,
        config=config,
        train_config=TrainConfig(**{**PLAIN, **settings}),
        data=fold(),
        seed=0,
        keep="last",
        on_epoch=lambda epoch, scores: False,
        log_dir=None,
        **changes,
    )


@pytest.mark.parametrize("n_slices", [2, 4])
@pytest.mark.parametrize("settings", [{}, BLENDED, {"batch_size": 7}])
def test_micro_batches_give_the_same_steps(settings: dict[str, Any], n_slices: int) -> None:
    """Without dropout and batch norm, which depend on the batch size."""
    config = softmax_regression.Config(dropout=0.0)
    full_batch = fit("softmax_regression", config, settings)
    sliced = fit("softmax_regression", config, settings, n_slices=n_slices)
    assert [row["train_loss"] for row in sliced.history] == pytest.approx(
        [row["train_loss"] for row in full_batch.history], rel=1e-4
    )
    state = sliced.module.state_dict()
    for name, value in full_batch.module.state_dict().items():
        torch.testing.assert_close(state[name], value, atol=1e-5, rtol=1e-4)


@pytest.fixture
def batches_seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    seen: list[int] = []
    loss: Callable[..., Tensor] = GenreClassifier.loss

    def watched(self: GenreClassifier, x: Tensor, *more: Any) -> Tensor:
        seen.append(len(x))
        return loss(self, x, *more)

    monkeypatch.setattr(GenreClassifier, "loss", watched)
    return seen


def test_no_micro_batch_is_larger_than_half_a_batch(batches_seen: list[int]) -> None:
    trained = fit("cnn", cnn.Config(n_layers=2, width=4, dense=8), {}, n_slices=2)
    assert set(batches_seen) == {3}
    assert isinstance(trained.module.network, nn.Module)
    assert np.isfinite(trained.proba).all()


def test_a_micro_batch_has_at_least_two_rows_as_batch_norm_needs(batches_seen: list[int]) -> None:
    fit("cnn", cnn.Config(n_layers=2, width=4, dense=8), {"batch_size": 5}, n_slices=8)
    assert set(batches_seen) == {2, 3}
