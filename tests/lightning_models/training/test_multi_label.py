"""Training of networks on several labels: loss, learning, checkpoint and resume."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from chorale.datasets.errors import UserError
from chorale.lightning_models.architectures import cnn, mlp
from chorale.lightning_models.data.datamodule import FoldData, MemoryFrames
from chorale.lightning_models.multi_label_metrics import mean_average_precision
from chorale.lightning_models.train_config import TrainConfig
from chorale.lightning_models.training import checkpoint
from chorale.lightning_models.training.fit import TrainedNetwork, predict, train_network
from chorale.lightning_models.training.module import GenreClassifier

N_CLASSES = 3


def table_fold(n: int = 120, *, targets: bool = False, seed: int = 0) -> FoldData:
    """One row a track of 6 columns; label c is present where column c is high."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 6)).astype(np.float32)
    labels = (x[:, :N_CLASSES] + 0.3 * rng.normal(size=(n, N_CLASSES)) > [0, 0.5, 1]).astype(
        np.uint8
    )
    return FoldData(
        store=MemoryFrames.of(list(x[:, :, None]), frame_rate_hz=0.0),
        train_rows=np.arange(2 * n // 3),
        valid_rows=np.arange(2 * n // 3, n),
        labels=labels,
        n_classes=N_CLASSES,
        targets=(0.8 * labels + 0.1).astype(np.float32) if targets else None,
    )


def fit(data: FoldData | None = None, **changes: Any) -> TrainedNetwork:
    settings: dict[str, Any] = {"max_epochs": 20, "batch_size": 16, "lr": 1e-2}
    arguments: dict[str, Any] = {
        "architecture": "mlp",
        "config": mlp.Config(),
        "train_config": TrainConfig(**(settings | changes.pop("train", {}))),
        "data": data or table_fold(),
        "seed": 0,
        "keep": "best",
        "objective": "mAP",
        "on_epoch": lambda epoch, scores: False,
        "log_dir": None,
    }
    return train_network(**(arguments | changes))


def module(**settings: Any) -> GenreClassifier:
    torch.manual_seed(0)
    return GenreClassifier(
        architecture="cnn",
        config=cnn.Config(n_layers=2, width=8, dense=8, dropout=0.0),
        train_config=TrainConfig(**settings),
        input_shape=(1, 16, 20),
        n_classes=N_CLASSES,
        multi_label=True,
    )


LOGITS = torch.tensor([[2.0, -1.0, 0.5], [-0.5, 0.0, 3.0]])
TARGETS = torch.tensor([[1, 0, 1], [0, 1, 1]], dtype=torch.uint8)


def test_the_loss_is_binary_cross_entropy() -> None:
    found = module().classification_loss(LOGITS, TARGETS, None)
    expected = F.binary_cross_entropy_with_logits(LOGITS, TARGETS.float())
    torch.testing.assert_close(found, expected)


def test_smoothing_mixup_and_class_weights_act_on_the_targets() -> None:
    smooth = module(label_smoothing=0.2).classification_loss(LOGITS, TARGETS, None)
    targets = 0.8 * TARGETS.float() + 0.1
    torch.testing.assert_close(smooth, F.binary_cross_entropy_with_logits(LOGITS, targets))
    keep = torch.tensor([0.75, 0.6])
    mixed = module().classification_loss(LOGITS, TARGETS, (TARGETS.roll(1, 0), keep))
    weights = keep.unsqueeze(1)
    targets = weights * TARGETS + (1 - weights) * TARGETS.roll(1, 0)
    torch.testing.assert_close(mixed, F.binary_cross_entropy_with_logits(LOGITS, targets))
    weighted = module()
    weighted.class_weights = torch.tensor([3.0, 1.0, 1.0])
    rise = weighted.classification_loss(LOGITS, TARGETS, None) - module().classification_loss(
        LOGITS, TARGETS, None
    )
    torch.testing.assert_close(rise, 2 * F.softplus(-LOGITS[0, 0]) / 6)


def test_it_learns_each_label() -> None:
    data = table_fold()
    trained = fit(data)
    labels = data.labels[data.valid_rows]
    assert trained.metrics["mAP"] > 0.8
    assert trained.metrics["mAP"] == pytest.approx(mean_average_precision(trained.proba, labels))
    assert trained.metrics.keys() == {"mAP", "lwlrap", "macro_f1", "log_loss"}
    assert trained.per_class.min() > 0.6
    assert np.abs(trained.proba.sum(axis=1) - 1).max() > 0.1  # no softmax


@pytest.mark.parametrize(
    "train",
    [
        {"balance": "class_weights"},
        {"balance": "sampling"},
        {"balance": "sampling", "synthetic": True},
        {"mixup_alpha": 0.3, "label_smoothing": 0.1},
    ],
    ids=str,
)
def test_balancing_and_augmentation_work_with_several_labels(train: dict[str, Any]) -> None:
    assert fit(train=train).metrics["mAP"] > 0.7


def test_soft_targets_are_learned() -> None:
    assert fit(table_fold(targets=True)).metrics["mAP"] > 0.8
    data = table_fold()
    with pytest.raises(UserError, match="probabilities of their labels, 0 to 1"):
        FoldData(
            store=data.store,
            train_rows=data.train_rows,
            valid_rows=data.valid_rows,
            labels=data.labels,
            n_classes=N_CLASSES,
            targets=np.full((120, N_CLASSES), 1.5, np.float32),
        )


def test_a_checkpoint_keeps_that_labels_are_several(tmp_path: Path) -> None:
    data = table_fold()
    trained = fit(data)
    checkpoint.save_checkpoint(tmp_path, trained.module, {"labels": ["a", "b", "c"]})
    loaded, card = checkpoint.load_checkpoint(tmp_path)
    assert card["multi_label"] is True
    np.testing.assert_allclose(
        predict(loaded, data, data.valid_rows).proba, trained.proba, atol=1e-6
    )


def test_a_resumed_training_is_that_without_a_break(tmp_path: Path) -> None:
    whole = fit(keep="last")
    stop: Any = lambda epoch, scores: epoch == 8  # noqa: E731
    fit(keep="last", on_epoch=stop, save_to=tmp_path, save_every=1)
    again = fit(keep="last", resume_from=tmp_path)
    assert again.resumed_after == 7
    np.testing.assert_array_equal(again.proba, whole.proba)


@pytest.mark.parametrize("objective", ["accuracy", "f1"])
def test_an_objective_of_one_class_is_refused(objective: str) -> None:
    with pytest.raises(UserError, match="choose from: log_loss, lwlrap, mAP, macro_f1"):
        fit(objective=objective)


def test_labels_that_are_no_indicators_are_refused() -> None:
    data = table_fold()
    with pytest.raises(UserError, match="must be 0 or 1 for each of n_classes=3"):
        FoldData(
            store=data.store,
            train_rows=data.train_rows,
            valid_rows=data.valid_rows,
            labels=data.labels * 2,
            n_classes=N_CLASSES,
        )
