"""Labels that are unknown are not trained on: loss, class weights, sampling, SMOTE."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from chorale.datasets.label_sets import UNKNOWN
from chorale.datasets.splitting.balance import balanced_order, multi_label_smote, presence_weights
from chorale.lightning_models.data.datamodule import FoldData
from tests.lightning_models.training.test_multi_label import (
    LOGITS,
    TARGETS,
    fit,
    module,
    table_fold,
)

LABELS = torch.tensor([[1, UNKNOWN, 1], [0, 1, UNKNOWN]], dtype=torch.int8)
KNOWN = LABELS >= 0


def loss(logits: torch.Tensor, labels: torch.Tensor, blend: Any = None, **settings: Any) -> float:
    network = module(**settings)
    network.has_unknown = True
    return float(network.classification_loss(logits, labels, blend))


def test_the_loss_is_the_mean_over_known_labels() -> None:
    each = F.binary_cross_entropy_with_logits(LOGITS, TARGETS.float(), reduction="none")
    assert loss(LOGITS, LABELS) == pytest.approx(float(each[KNOWN].mean()))
    smooth = F.binary_cross_entropy_with_logits(
        LOGITS, 0.8 * TARGETS.float() + 0.1, reduction="none"
    )
    found = loss(LOGITS, LABELS, label_smoothing=0.2)
    assert found == pytest.approx(float(smooth[KNOWN].mean()))


def test_an_unknown_label_has_no_gradient_and_its_logit_no_influence() -> None:
    logits = LOGITS.clone().requires_grad_()
    network = module(label_smoothing=0.1)
    network.has_unknown = True
    network.class_weights = torch.tensor([3.0, 2.0, 1.0])
    network.classification_loss(logits, LABELS, None).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert (logits.grad[~KNOWN] == 0).all()
    assert (logits.grad[KNOWN] != 0).all()


def test_mixup_takes_the_label_of_the_crop_where_it_is_known() -> None:
    keep = torch.tensor([0.75, 0.6])
    found = loss(LOGITS, LABELS, (LABELS.roll(1, 0), keep))
    own = F.binary_cross_entropy_with_logits(LOGITS, LABELS.float().clamp(0), reduction="none")
    theirs = F.binary_cross_entropy_with_logits(
        LOGITS, LABELS.roll(1, 0).float().clamp(0), reduction="none"
    )
    first = keep[:, None] * KNOWN
    second = (1 - keep[:, None]) * KNOWN.roll(1, 0)
    expected = (first * own + second * theirs).sum() / (first + second).sum()
    assert found == pytest.approx(float(expected))


@pytest.mark.parametrize("blended", [False, True])
def test_where_all_is_known_the_loss_is_that_without_a_mask(blended: bool) -> None:
    blend = (TARGETS.roll(1, 0), torch.tensor([0.75, 0.6])) if blended else None
    plain = module(label_smoothing=0.1).classification_loss(LOGITS, TARGETS, blend)
    assert loss(LOGITS, TARGETS.to(torch.int8), blend, label_smoothing=0.1) == pytest.approx(
        float(plain)
    )


def test_a_batch_in_slices_has_the_gradient_of_the_whole() -> None:
    x = torch.randn(8, 1, 16, 20)
    labels = torch.randint(0, 2, (8, 3)).to(torch.int8)
    labels[:4, 1:] = UNKNOWN
    gradients = []
    for n_slices in (1, 2):
        network = module().eval()  # batch norm by running statistics
        network.has_unknown, network.n_slices = True, n_slices
        network.training_step((x, labels)).backward()  # type: ignore[no-untyped-call]
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters()]))  # type: ignore[union-attr]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-5)


def hide(data: FoldData, share: float = 0.5) -> FoldData:
    at_random = np.random.default_rng(1).random(data.labels.shape) < share
    labels = np.where(at_random, UNKNOWN, data.labels).astype(np.int8)
    return replace(data, labels=labels)


@pytest.mark.parametrize(
    "train",
    [
        {},
        {"balance": "class_weights"},
        {"balance": "sampling", "synthetic": True},
        {"mixup_alpha": 0.3, "label_smoothing": 0.1},
    ],
    ids=str,
)
def test_networks_learn_from_known_labels(train: dict[str, Any]) -> None:
    data = hide(table_fold(300))
    assert data.has_unknown
    assert not table_fold().has_unknown
    assert fit(data, train=train).metrics["mAP"] > 0.75


def test_class_weights_count_known_labels() -> None:
    labels = np.array([[1, 1], [0, UNKNOWN], [0, UNKNOWN], [0, 0], [UNKNOWN, UNKNOWN]], np.int8)
    np.testing.assert_allclose(presence_weights(labels), [np.sqrt(3), 1])


def test_balanced_rows_are_known_to_have_the_label() -> None:
    labels = np.array([[1, UNKNOWN], [UNKNOWN, 1], [0, UNKNOWN], [UNKNOWN, UNKNOWN]], np.int8)
    drawn = balanced_order(labels, n=20, rng=np.random.default_rng(0))
    assert np.bincount(drawn, minlength=4).tolist() == [10, 10, 0, 0]


def test_synthetic_rows_get_the_labels_that_are_known_of_their_neighbours() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 2)).astype(np.float32)
    labels = np.zeros((40, 3), np.int8)
    labels[:30, 0] = 1
    labels[30:36, 1] = 1  # the rare label
    labels[30:36, 0] = [1, 1, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN]
    labels[:, 2] = UNKNOWN
    new_x, made = multi_label_smote(x, labels, 0)
    assert len(new_x) == 6
    assert (made[:, 1] == 1).all()
    assert (made[:, 0] == 1).all()  # both rows of which it is known have it
    assert (made[:, 2] == UNKNOWN).all()
