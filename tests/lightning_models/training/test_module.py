import math
from typing import Any

import pytest
import torch

from chorale.datasets import plugins
from chorale.datasets.errors import UserError
from chorale.lightning_models import architectures
from chorale.lightning_models.architectures import cnn
from chorale.lightning_models.distributions import CategoricalDistribution
from chorale.lightning_models.train_config import REQUIRED_PARAMETER, TRAIN_SPACE, TrainConfig
from chorale.lightning_models.training.module import Diverged, GenreClassifier, classifier_class


def classifier(**settings: Any) -> GenreClassifier:
    torch.manual_seed(0)
    return GenreClassifier(
        architecture="cnn",
        config=cnn.Config(n_layers=2, width=8, dense=8, dropout=0.0),
        train_config=TrainConfig(**settings),
        input_shape=(1, 16, 20),
        n_classes=3,
    )


def test_the_training_space_has_config_fields_and_both_ends_are_allowed() -> None:
    for name, distribution in TRAIN_SPACE.items():
        values: list[Any]
        if isinstance(distribution, CategoricalDistribution):
            values = list(distribution.choices)
        else:
            values = [distribution.low, distribution.high]
        for value in values:
            settings: dict[str, Any] = {name: value}
            assert getattr(TrainConfig(**settings), name) == value


def test_conditions_name_parameters_and_values_of_the_space() -> None:
    for name, (other, values) in REQUIRED_PARAMETER.items():
        assert name in TRAIN_SPACE
        distribution = TRAIN_SPACE[other]
        assert all(distribution.contains(value) for value in values)


def test_features_are_standardized_before_the_network() -> None:
    mean, std = torch.linspace(-50, 10, 16), torch.linspace(0.5, 8, 16)
    plain = classifier().eval()
    module = classifier().eval()
    module.mean.copy_(mean.view(1, -1, 1))
    module.std.copy_(std.view(1, -1, 1))
    x = torch.randn(4, 1, 16, 20)
    raw = x * std.view(1, -1, 1) + mean.view(1, -1, 1)
    torch.testing.assert_close(module(raw), plain(x), atol=2e-2, rtol=2e-2)  # bf16
    assert not torch.allclose(module(x), plain(x), atol=2e-2, rtol=2e-2)


def test_logits_and_embedding_are_float32_and_equal_forward() -> None:
    module, x = classifier().eval(), torch.randn(4, 1, 16, 20)
    logits, embedding = module.logits_and_embedding(x)
    assert torch.equal(logits, module(x))
    assert (logits.dtype, embedding.dtype) == (torch.float32, torch.float32)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"label_smoothing": 0.1},
        {"mixup_alpha": 0.4, "label_smoothing": 0.1},
        {"n_masks": 2},
        {"mixup_alpha": 0.4, "n_masks": 1},
    ],
)
def test_a_training_step_gives_a_finite_loss_and_gradients(settings: Any) -> None:
    module = classifier(**settings)
    loss = module.training_step((torch.randn(6, 1, 16, 20), torch.arange(6) % 3))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


def test_mixup_weighs_both_labels_by_their_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    module = classifier(mixup_alpha=0.4).eval()
    x, labels = torch.randn(3, 1, 16, 20), torch.tensor([0, 1, 2])
    keep = torch.tensor([0.9, 0.6, 0.5])
    monkeypatch.setattr(
        "chorale.lightning_models.training.module.mixup", lambda x, **_: (x, keep, 1)
    )
    loss = module.training_step((x, labels))
    log_proba = module(x).log_softmax(dim=1)
    own, other = log_proba[range(3), [0, 1, 2]], log_proba[range(3), [2, 0, 1]]
    torch.testing.assert_close(loss, -(keep * own + (1 - keep) * other).mean())


def test_class_weights_apply_to_each_classs_share_of_a_smoothed_mixup_label(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = classifier(mixup_alpha=0.4, label_smoothing=0.3).eval()
    module.class_weights = weights = torch.tensor([0.5, 1.0, 3.0])
    x, labels = torch.randn(3, 1, 16, 20), torch.tensor([0, 1, 2])
    keep = torch.tensor([0.9, 0.6, 0.5])
    monkeypatch.setattr(
        "chorale.lightning_models.training.module.mixup", lambda x, **_: (x, keep, 1)
    )
    loss = module.training_step((x, labels))
    own, other = torch.eye(3), torch.eye(3)[[2, 0, 1]]
    blended = keep[:, None] * own + (1 - keep[:, None]) * other
    target = 0.7 * blended + 0.3 / 3
    expected = -(target * weights * module(x).log_softmax(dim=1)).sum(dim=1).mean()
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize(("architecture", "lowered"), [("cnn", True), ("mlp", False)])
def test_on_a_cpu_networks_of_dense_layers_stay_in_float32(
    architecture: str, lowered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "chorale.lightning_models.training.speed.fastest_precision", lambda kind: torch.bfloat16
    )
    module = GenreClassifier(
        architecture=architecture,
        config=plugins.load_plugin(architectures, architecture, kind="architecture").Config(),
        train_config=TrainConfig(),
        input_shape=(1, 16, 20) if architecture == "cnn" else (1, 16, 1),
        n_classes=3,
    )
    if module.device.type == "cpu":
        with module.autocast():
            assert torch.is_autocast_enabled("cpu") is lowered


def test_class_weights_are_not_in_the_state_dict() -> None:
    module = classifier()
    before = set(module.state_dict())
    module.class_weights = torch.ones(3)
    assert set(module.state_dict()) == before


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_raises_diverged(bad: float) -> None:
    module = classifier()
    module._losses.extend([torch.tensor(1.0), torch.tensor(bad)])
    with pytest.raises(Diverged, match=f"diverged: loss is {bad} at epoch 1"):
        module.epoch_loss()


def test_an_architecture_has_the_common_module_unless_it_has_its_own() -> None:
    assert classifier_class("cnn") is GenreClassifier
    own = classifier_class("autoencoder_cnn")
    assert issubclass(own, GenreClassifier)
    assert own is not GenreClassifier


def test_the_error_for_an_unknown_architecture_suggests_the_nearest() -> None:
    with pytest.raises(UserError, match="unknown architecture 'cmn'; did you mean 'cnn'"):
        GenreClassifier(
            architecture="cmn",
            config=None,
            train_config=TrainConfig(),
            input_shape=(1, 8, 8),
            n_classes=2,
        )


def test_compiled_steps_train_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Any] = []
    real = torch.compile

    def light(forward: Any) -> Any:  # without generating code, which takes half a minute
        compiled.append(forward)
        return real(forward, backend="aot_eager")

    monkeypatch.setattr(torch, "compile", light)
    plain, fast = classifier().train(), classifier(compile=True).train()
    assert len(compiled) == 1
    assert fast.state_dict().keys() == plain.state_dict().keys()
    batch = torch.randn(6, 1, 16, 20), torch.arange(6) % 3
    for module in (plain, fast):
        torch.autograd.backward(module.training_step(batch))
    for a, b in zip(plain.parameters(), fast.parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        torch.testing.assert_close(a.grad, b.grad, rtol=2e-2, atol=2e-3)
