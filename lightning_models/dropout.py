"""Dropout that a processor does not wait for: the same rule, cheaper random numbers.

`GenreClassifier` asks for it when its network is built. PyTorch asks its generator once for each
value that may be dropped: in a perceptron that took as long as all its matrix products. Here one
draw of 64 bits is enough for four values, and draws are made for several steps at once.
"""

import torch
from torch import Tensor, nn

N_LEVELS = 2**16
"""The probability of being dropped is rounded to one of so many."""

AHEAD = 2**16
"""For so many values it is drawn at once whether they are dropped, or for one step if that has
more: for a small layer the calls take longer than the numbers."""


class QuickDropout(nn.Dropout):
    """Drops each value with probability `p`, to the nearest 1/65,536, and scales up what is left.

    On a GPU, in a compiled network, and where nothing is to be dropped, it is PyTorch's own. It
    draws from torch's default generator; after `forget` the same seed drops the same values.

    Source: Srivastava et al. 2014, "Dropout", JMLR 15.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same."""
        if not self.training or x.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(x)
        n_dropped = round(self.p * N_LEVELS)
        if n_dropped in (0, N_LEVELS):
            return super().forward(x)
        ahead: list[Tensor] = vars(self).setdefault("_ahead", [])
        if not ahead or ahead[-1].shape != x.shape or ahead[-1].dtype != x.dtype:
            ahead[:] = _drawn(x, n_dropped)
        return x * ahead.pop()


def _drawn(x: Tensor, n_dropped: int) -> list[Tensor]:
    """What to multiply `x` and as many of the next ones by: 0, or what scales the others up."""
    n_steps = max(1, AHEAD // max(1, x.numel()))
    n = n_steps * x.numel()
    words = torch.empty((n + 3) // 4, dtype=torch.int64)
    words.random_(-(2**63), None)
    # 0 or 1, then 0 or the scale: steps that a processor takes for many values at a time
    kept = words.view(torch.int16)[:n].float().ge_(n_dropped - N_LEVELS // 2)
    kept.mul_(N_LEVELS / (N_LEVELS - n_dropped))
    return list(kept.to(x.dtype).view(n_steps, *x.shape).unbind())


def mend(network: nn.Module) -> None:
    """Makes every plain dropout of `network` a `QuickDropout`, in place."""
    for module in network.modules():
        if type(module) is nn.Dropout and not module.inplace:
            # the same object, whoever built it; only its forward is another
            module.__class__ = QuickDropout


def forget(network: nn.Module) -> None:
    """Lets go of what was drawn ahead: what is dropped from now on depends on the seed alone."""
    for module in network.modules():
        if isinstance(module, QuickDropout):
            vars(module).pop("_ahead", None)
