"""The rules by which weights move: adam, adamw, sgd and rmsprop, with their groups of parameters.

`GenreClassifier` builds one for a training, and sets its learning rate before every step.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from chorale.lightning_models.train_config import TrainConfig


def build(network: nn.Module, settings: TrainConfig) -> torch.optim.Optimizer:
    """The optimizer of a training config over those parameters of a network that are trained.

    Biases and norms are not decayed. A group's `scale` is its share of the learning rate, which
    `set_lr` obeys.

    Args:
        network: parameters that need no gradient are left out; its `lr_scales`, where it has any,
            maps prefixes of parameter names to scales (the longest that fits counts).
        settings: names the rule and its numbers.

    Raises:
        ValueError: a prefix fits no parameter, or no parameter is trained.

    Source: Kingma and Ba 2015, arXiv:1412.6980 (adam); Loshchilov and Hutter 2019,
    arXiv:1711.05101 (adamw); Sutskever et al. 2013, "On the importance of initialization and
    momentum in deep learning" (sgd with Nesterov's momentum); Tieleman and Hinton 2012, COURSERA
    lecture 6.5 (rmsprop).
    """
    groups = _groups(network, settings.weight_decay)
    lr = full_lr(settings)
    match settings.optimizer:
        case "sgd":
            return _sgd(groups, lr, momentum=settings.momentum)
        case "rmsprop":
            return torch.optim.RMSprop(groups, lr, alpha=settings.rms_decay, foreach=True)
        case "adam":
            return torch.optim.Adam(groups, lr, betas=(0.9, settings.beta2), fused=True)
        case "adamw":
            return torch.optim.AdamW(groups, lr, betas=(0.9, settings.beta2), fused=True)


def _sgd(groups: list[dict[str, Any]], lr: float, *, momentum: float) -> torch.optim.SGD:
    """With momentum from the first step on: the fused rule fails where a parameter that had no
    gradient so far, as in a pretraining, gets its first one beside others that have momentum.
    """
    made = torch.optim.SGD(groups, lr, momentum=momentum, nesterov=momentum > 0, fused=True)
    if momentum:
        for parameter in _parameters(made):
            made.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return made


def full_lr(settings: TrainConfig) -> float:
    """The full height of the learning rate: sgd has one of its own."""
    return settings.sgd_lr if settings.optimizer == "sgd" else settings.lr


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Sets the learning rate of the coming step, for each group by its scale."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["scale"]


def lr_of(optimizer: torch.optim.Optimizer) -> float:
    """The learning rate of the last step, of a group with the scale 1."""
    group = optimizer.param_groups[0]
    return float(group["lr"] / group["scale"])


def stepper(optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    """A function that moves the weights as `optimizer.step()` does, in less time.

    A step of a small network is over sooner than what Optimizer does around it: naming it for a
    profiler, asking the compiler to look away, gathering the same tensors again. The function
    keeps what it gathered: make a new one after `restore`. Adam's steps are the same to the bit,
    RMSprop's, which take one pass over the weights instead of six, to the last digit or so.
    """
    plain: Callable[[], Any] = optimizer.step
    rule: Any = type(optimizer).step
    while hasattr(rule, "__wrapped__"):  # the profiler's wrapper, and the one for gradients of it
        rule = rule.__wrapped__
    gathered: list[_Fused] = []
    quick: Callable[[Any, dict[str, Any]], _Fused] | None = None
    if isinstance(optimizer, torch.optim.Adam):
        quick = _Adam
    elif isinstance(optimizer, torch.optim.RMSprop) and _on_processor(optimizer):
        quick = _RMSprop

    @torch.no_grad()
    def step() -> None:
        if quick is not None:
            if not gathered and all(optimizer.state.get(p) for p in _parameters(optimizer)):
                gathered.extend(quick(optimizer, group) for group in optimizer.param_groups)
            grads = [[p.grad for p in one.params if p.grad is not None] for one in gathered]
            whole = zip(gathered, grads, strict=True)
            if gathered and all(len(some) == len(one.params) for one, some in whole):
                for one, some in zip(gathered, grads, strict=True):
                    one.step(some)
                return
        rule(optimizer)

    return step if not optimizer.defaults.get("differentiable") else plain


class _Fused:
    """The tensors of one group of parameters, in the order that Adam's fused kernel wants."""

    kernel: Callable[..., None] = staticmethod(torch._fused_adam_)
    params: list[Tensor]
    means: list[Tensor]
    squares: list[Tensor]
    steps: list[Tensor]
    group: dict[str, Any]

    def betas(self) -> tuple[float, float]:
        """How much of the means of gradients and of their squares stays in a step."""
        raise NotImplementedError

    def step(self, grads: list[Tensor]) -> None:
        """What `torch.optim.adam._fused_adam` does for tensors of one device and type."""
        beta1, beta2 = self.betas()
        self.kernel(
            self.params,
            grads,
            self.means,
            self.squares,
            [],
            self.steps,
            amsgrad=False,
            lr=self.group["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=self.group["weight_decay"],
            eps=self.group["eps"],
            maximize=False,
        )


class _Adam(_Fused):
    """Of a fused Adam or AdamW."""

    def __init__(self, optimizer: torch.optim.Adam, group: dict[str, Any]) -> None:
        self.params, self.group = group["params"], group
        states = [optimizer.state[parameter] for parameter in self.params]
        names = ("exp_avg", "exp_avg_sq", "step")
        self.means, self.squares, self.steps = ([s[n] for s in states] for n in names)
        if isinstance(optimizer, torch.optim.AdamW):
            self.kernel = torch._fused_adamw_

    def betas(self) -> tuple[float, float]:
        beta1, beta2 = self.group["betas"]
        return beta1, beta2

    def step(self, grads: list[Tensor]) -> None:
        torch._foreach_add_(self.steps, 1)
        super().step(grads)


class _RMSprop(_Fused):
    """Of a plain RMSprop.

    It is Adam whose mean of gradients forgets all but the last one, and whose means are not
    corrected for their zero beginning: after so many steps there is nothing left to correct.
    """

    N_STEPS = 1e9

    def __init__(self, optimizer: torch.optim.RMSprop, group: dict[str, Any]) -> None:
        self.params, self.group = group["params"], group
        self.squares = [optimizer.state[parameter]["square_avg"] for parameter in self.params]
        self.means = [torch.zeros_like(square) for square in self.squares]
        self.steps = [torch.tensor(self.N_STEPS) for _ in self.params]

    def betas(self) -> tuple[float, float]:
        return 0.0, self.group["alpha"]


def _on_processor(optimizer: torch.optim.Optimizer) -> bool:
    return all(parameter.device.type == "cpu" for parameter in _parameters(optimizer))


def state_of(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What an optimizer remembers: "3.exp_avg" is that of its fourth parameter."""
    return {
        f"{i}.{name}": value
        for i, parameter in enumerate(_parameters(optimizer))
        for name, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def restore(optimizer: torch.optim.Optimizer, state: Mapping[str, Tensor]) -> None:
    """Gives an optimizer back what `state_of` said, to the bit.

    A moment gets its parameter's place and layout in memory: fused rules walk through both side
    by side, and a file keeps no layout.
    """
    parameters = list(_parameters(optimizer))
    fused = bool(optimizer.param_groups[0].get("fused"))
    for key, value in state.items():
        number, name = key.split(".", 1)
        parameter = parameters[int(number)]
        if value.shape == parameter.shape and value.ndim:
            kept = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False)
            kept.copy_(value)
        else:  # a count of steps
            kept = value.to(parameter.device if fused else "cpu", copy=True)
        optimizer.state[parameter][name] = kept


def _parameters(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    return (parameter for group in optimizer.param_groups for parameter in group["params"])


def _groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    scales = _scales(network)
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            decay = weight_decay if parameter.ndim >= 2 else 0.0
            groups.setdefault((decay, _scale(name, scales)), []).append(parameter)
    ordered = sorted(groups.items(), key=lambda item: item[0], reverse=True)
    return [
        {"params": params, "weight_decay": decay, "scale": scale}
        for (decay, scale), params in ordered
    ]


def _scales(network: nn.Module) -> Mapping[str, float]:
    scales: Mapping[str, float] = getattr(network, "lr_scales", {})
    names = [name for name, _ in network.named_parameters()]
    for prefix in scales:
        if not any(_fits(prefix, name) for name in names):
            raise ValueError(f"lr_scales names {prefix!r}, but no parameter's name starts so")
    return scales


def _scale(name: str, scales: Mapping[str, float]) -> float:
    fitting = [prefix for prefix in scales if _fits(prefix, name)]
    return scales[max(fitting, key=len)] if fitting else 1.0


def _fits(prefix: str, name: str) -> bool:
    """Whole parts of a name only: "block.1" is no prefix of "block.10.weight"."""
    return f"{name}.".startswith(f"{prefix.rstrip('.')}.")
