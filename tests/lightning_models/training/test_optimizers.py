from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import nn

from chorale.lightning_models.train_config import TrainConfig
from chorale.lightning_models.training import optimizers


class Net(nn.Module):
    def __init__(self, lr_scales: Mapping[str, float] | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(2, 8, 3)
        self.block1 = nn.Linear(8, 8)
        self.block10 = nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)
        if lr_scales is not None:
            self.lr_scales = lr_scales
        weight = self.stem.weight  # strides as GenreClassifier has them
        weight.data = weight.data.contiguous(memory_format=torch.channels_last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.stem(x).mean(dim=(2, 3)).relu()
        out: torch.Tensor = self.head(self.block10(self.block1(h)))
        return out


RULES: list[dict[str, Any]] = [
    {"optimizer": "adam", "beta2": 0.95},
    {"optimizer": "adamw", "beta2": 0.99},
    {"optimizer": "sgd", "sgd_lr": 0.05, "momentum": 0.9},
    {"optimizer": "sgd", "sgd_lr": 0.05, "momentum": 0.0},
    {"optimizer": "rmsprop", "rms_decay": 0.9},
]


def settings(**values: Any) -> TrainConfig:
    return TrainConfig(**values)


@pytest.mark.parametrize(
    ("values", "rule", "expected"),
    [
        ({"optimizer": "adam", "lr": 0.002, "beta2": 0.95}, torch.optim.Adam, (0.9, 0.95)),
        ({"optimizer": "adamw", "lr": 0.002, "beta2": 0.99}, torch.optim.AdamW, (0.9, 0.99)),
    ],
)
def test_adam_and_adamw_have_the_configured_betas(values: Any, rule: Any, expected: Any) -> None:
    made = optimizers.build_optimizer(Net(), settings(**values))
    assert type(made) is rule
    assert (made.defaults["lr"], made.defaults["betas"]) == (0.002, expected)


def test_rmsprop_has_the_configured_decay_and_adams_learning_rate() -> None:
    made = optimizers.build_optimizer(Net(), settings(optimizer="rmsprop", rms_decay=0.9, lr=0.003))
    assert type(made) is torch.optim.RMSprop
    assert (made.defaults["alpha"], made.defaults["lr"]) == (0.9, 0.003)


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.9, True), (0.0, False)])
def test_sgd_uses_nesterov_only_with_momentum(momentum: float, nesterov: bool) -> None:
    made = optimizers.build_optimizer(
        Net(), settings(optimizer="sgd", momentum=momentum, sgd_lr=0.05)
    )
    assert type(made) is torch.optim.SGD
    assert (made.defaults["nesterov"], made.defaults["lr"]) == (nesterov, 0.05)


def test_biases_and_norms_have_no_weight_decay() -> None:
    decayed, others = optimizers.build_optimizer(Net(), settings(weight_decay=0.01)).param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.01, 0.0)
    assert {p.ndim for p in decayed["params"]} == {2, 4}
    assert {p.ndim for p in others["params"]} == {1}


def rates(net: Net) -> dict[str, float]:
    made = optimizers.build_optimizer(net, settings())
    optimizers.set_lr(made, 1.0)
    by_id = {id(p): group["lr"] for group in made.param_groups for p in group["params"]}
    return {name: by_id[id(p)] for name, p in net.named_parameters() if id(p) in by_id}


def test_lr_scales_match_whole_parts_of_names_and_the_longest_counts() -> None:
    found = rates(Net({"stem": 0.1, "block1": 0.5, "block1.bias": 0.25}))
    assert found["stem.weight"] == found["stem.bias"] == 0.1
    assert (found["block1.weight"], found["block1.bias"]) == (0.5, 0.25)
    assert found["block10.weight"] == found["head.weight"] == 1.0


def test_a_scale_without_a_parameter_is_refused() -> None:
    with pytest.raises(ValueError, match="lr_scales has 'sten'"):
        optimizers.build_optimizer(Net({"sten": 0.1}), settings())


def test_frozen_parameters_are_left_out() -> None:
    net = Net({"stem": 0.1})
    net.stem.requires_grad_(False)
    assert not any(name.startswith("stem") for name in rates(net))


def step(net: Net, optimizer: torch.optim.Optimizer, seed: int) -> None:
    x = torch.randn(4, 2, 5, 5, generator=torch.Generator().manual_seed(seed))
    optimizer.zero_grad()
    net(x).square().sum().backward()
    optimizer.step()


@pytest.mark.parametrize("values", RULES, ids=str)
def test_a_restored_optimizer_continues_bit_identically(values: Any) -> None:
    net = Net()
    made = optimizers.build_optimizer(net, settings(**values))
    for seed in range(3):
        step(net, made, seed)
    other = Net()
    other.load_state_dict(net.state_dict())
    again = optimizers.build_optimizer(other, settings(**values))
    # as it comes from a file: in plain order
    flat = {k: v.contiguous().clone() for k, v in optimizers.optimizer_state(made).items()}
    optimizers.restore_optimizer(again, flat)
    for seed in range(3, 6):
        step(net, made, seed)
        step(other, again, seed)
    assert all(map(torch.equal, net.state_dict().values(), other.state_dict().values()))


@pytest.mark.parametrize("values", RULES, ids=str)
def test_a_parameter_may_get_its_first_gradient_later_than_others(values: Any) -> None:
    net = Net()
    optimizer = optimizers.build_optimizer(net, settings(**values))
    x = torch.randn(4, 2, 6, 6)
    net.stem(x).square().mean().backward()
    optimizer.step()
    before = net.head.weight.detach().clone()
    step(net, optimizer, seed=0)
    assert not torch.equal(net.head.weight, before)


def test_initial_momentum_buffers_do_not_change_the_steps() -> None:
    ours, theirs = Net(), Net()
    optimizer = optimizers.build_optimizer(
        ours, settings(optimizer="sgd", sgd_lr=0.1, weight_decay=0.0)
    )
    plain = torch.optim.SGD(theirs.parameters(), 0.1, momentum=0.9, nesterov=True)
    for seed in range(3):
        step(ours, optimizer, seed=seed)
        step(theirs, plain, seed=seed)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("values", RULES)
def test_the_fast_step_equals_the_optimizers_step(values: dict[str, Any]) -> None:
    nets = [Net(), Net()]
    made = [optimizers.build_optimizer(net, settings(weight_decay=0.01, **values)) for net in nets]
    steps: list[Callable[[], Any]] = [made[0].step, optimizers.fast_step(made[1])]
    for number in range(5):
        x = torch.full((4, 2, 5, 5), 0.1 * number)
        for net, optimizer, step in zip(nets, made, steps, strict=True):
            optimizer.zero_grad()
            # a parameter without a gradient is left alone, as those of a pretraining are
            loss = net(x).square().mean() if number != 2 else net.stem(x).mean()
            torch.autograd.backward(loss)
            optimizers.set_lr(optimizer, 0.01 / (1 + number))
            step()
    # RMSprop's quick step has its own order of operations; all others do the same to the bit
    digits = 4 * torch.finfo(torch.float32).eps if values["optimizer"] == "rmsprop" else 0.0
    for ours, theirs in zip(*(net.parameters() for net in nets), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=digits, atol=digits / 8)
