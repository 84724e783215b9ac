"""Optimizers: Adam, AdamW, SGD and RMSprop, with parameter groups for weight decay and lr scale.

`GenreClassifier` builds one for a training, and sets its learning rate before every step.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from chorale.lightning_models.patches import _torch
from chorale.lightning_models.train_config import TrainConfig


def build_optimizer(network: nn.Module, settings: TrainConfig) -> torch.optim.Optimizer:
    """The optimizer of a training config for the trainable parameters of a network.

    Biases and norms have no weight decay. A group's `scale` multiplies the learning rate that
    `set_lr` sets.

    Args:
        network: parameters that need no gradient are left out; its `lr_scales`, where it has any,
            maps prefixes of parameter names to scales (the longest match counts).
        settings: the optimizer and its hyperparameters.

    Raises:
        ValueError: a prefix matches no parameter, or no parameter is trainable.

    Source: Kingma and Ba 2015, arXiv:1412.6980 (adam); Loshchilov and Hutter 2019,
    arXiv:1711.05101 (adamw); Sutskever et al. 2013, "On the importance of initialization and
    momentum in deep learning" (sgd with Nesterov's momentum); Tieleman and Hinton 2012, COURSERA
    lecture 6.5 (rmsprop).
    """
    groups = _groups(network, settings.weight_decay)
    lr = base_lr(settings)
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
    """SGD whose momentum buffers exist from the start.

    The fused kernel fails where a parameter gets its first gradient, as after a pretraining, while
    others already have momentum buffers.
    """
    optimizer = torch.optim.SGD(groups, lr, momentum=momentum, nesterov=momentum > 0, fused=True)
    if momentum:
        for parameter in _parameters(optimizer):
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def base_lr(settings: TrainConfig) -> float:
    """The learning rate that the schedule scales; sgd has its own parameter."""
    return settings.sgd_lr if settings.optimizer == "sgd" else settings.lr


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Sets the learning rate of the next step, times the scale of each group."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["scale"]


def current_lr(optimizer: torch.optim.Optimizer) -> float:
    """The learning rate of the last step, of a group with the scale 1."""
    group = optimizer.param_groups[0]
    return float(group["lr"] / group["scale"])


def fast_step(optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    """A function that does the same as `optimizer.step()` in less time.

    A step of a small network takes less time than PyTorch's overhead around it: the profiler
    record, the disabled compiler, gathering the same tensors again. The function keeps the gathered
    tensors: make a new one after `restore_optimizer`. Adam's steps are bit-identical; RMSprop's,
    which take one pass over the weights instead of six, are equal up to rounding.
    """
    plain: Callable[[], Any] = optimizer.step
    rule: Any = type(optimizer).step
    while hasattr(rule, "__wrapped__"):  # the wrappers for the profiler and for differentiability
        rule = rule.__wrapped__
    gathered: list[_Fused] = []
    quick: Callable[[Any, dict[str, Any]], _Fused] | None = None
    if isinstance(optimizer, torch.optim.Adam):
        quick = _Adam
    elif isinstance(optimizer, torch.optim.RMSprop) and _on_cpu(optimizer):
        quick = _RMSprop

    @torch.no_grad()
    def step() -> None:
        if quick is not None:
            if not gathered and all(optimizer.state.get(p) for p in _parameters(optimizer)):
                gathered.extend(quick(optimizer, group) for group in optimizer.param_groups)
            grads = [[p.grad for p in one.params if p.grad is not None] for one in gathered]
            pairs = zip(gathered, grads, strict=True)
            if gathered and all(len(some) == len(one.params) for one, some in pairs):
                for one, some in zip(gathered, grads, strict=True):
                    one.step(some)
                return
        rule(optimizer)

    return step if not optimizer.defaults.get("differentiable") else plain


class _Fused:
    """The tensors of one parameter group, as the arguments of Adam's fused kernel."""

    kernel: Callable[..., None] = staticmethod(_torch.fused_adam)
    params: list[Tensor]
    means: list[Tensor]
    squares: list[Tensor]
    steps: list[Tensor]
    group: dict[str, Any]

    def betas(self) -> tuple[float, float]:
        """The decay rates of the moving averages of gradients and of their squares."""
        raise NotImplementedError

    def step(self, grads: list[Tensor]) -> None:
        """Does what `torch.optim.adam._fused_adam` does for tensors of one device and dtype."""
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
    """One parameter group of a fused Adam or AdamW."""

    def __init__(self, optimizer: torch.optim.Adam, group: dict[str, Any]) -> None:
        self.params, self.group = group["params"], group
        states = [optimizer.state[parameter] for parameter in self.params]
        names = ("exp_avg", "exp_avg_sq", "step")
        self.means, self.squares, self.steps = ([s[n] for s in states] for n in names)
        if isinstance(optimizer, torch.optim.AdamW):
            self.kernel = _torch.fused_adamw

    def betas(self) -> tuple[float, float]:
        beta1, beta2 = self.group["betas"]
        return beta1, beta2

    def step(self, grads: list[Tensor]) -> None:
        _torch.add_one(self.steps)
        super().step(grads)


class _RMSprop(_Fused):
    """One parameter group of RMSprop without momentum, run by Adam's fused kernel.

    RMSprop is Adam with beta1 = 0 and without bias correction, which a large step count makes 1.
    """

    N_STEPS = 1e9

    def __init__(self, optimizer: torch.optim.RMSprop, group: dict[str, Any]) -> None:
        self.params, self.group = group["params"], group
        self.squares = [optimizer.state[parameter]["square_avg"] for parameter in self.params]
        self.means = [torch.zeros_like(square) for square in self.squares]
        self.steps = [torch.tensor(self.N_STEPS) for _ in self.params]

    def betas(self) -> tuple[float, float]:
        return 0.0, self.group["alpha"]


def _on_cpu(optimizer: torch.optim.Optimizer) -> bool:
    return all(parameter.device.type == "cpu" for parameter in _parameters(optimizer))


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state by name: "3.exp_avg" is that of its fourth parameter."""
    return {
        f"{i}.{name}": value
        for i, parameter in enumerate(_parameters(optimizer))
        for name, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Tensor]) -> None:
    """Restores the result of `optimizer_state`, bit by bit.

    A state tensor gets its parameter's device and memory layout: fused kernels iterate over both in
    parallel, and a file does not keep the layout.
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
            raise ValueError(f"lr_scales has {prefix!r}, but no parameter's name starts with it")
    return scales


def _scale(name: str, scales: Mapping[str, float]) -> float:
    fitting = [prefix for prefix in scales if _fits(prefix, name)]
    return scales[max(fitting, key=len)] if fitting else 1.0


def _fits(prefix: str, name: str) -> bool:
    """Whether a prefix matches whole parts of a name: "block.1" is not in "block.10.weight"."""
    return f"{name}.".startswith(f"{prefix.rstrip('.')}.")
