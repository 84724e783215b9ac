"""Fast dropout on CPUs: the same distribution with cheaper random numbers.

`Classifier` uses it when it builds a network. PyTorch draws a random number for each value: in an
MLP that took as long as all its matrix products. Here one draw of 64 bits serves four values, and
masks are drawn for several steps at once.
"""

import torch
from torch import Tensor, nn

N_LEVELS = 2**16
"""The dropout probability is rounded to a multiple of 1 / `N_LEVELS`."""

VALUES_AHEAD = 2**16
"""Masks are drawn at once for so many values, or for one step if that has more: for a small layer
the calls take longer than the random numbers."""


class QuickDropout(nn.Dropout):
    """Dropout with probability `p`, to the nearest 1/65,536.

    On a GPU, in a compiled network, and where `p` rounds to 0 or 1, it is PyTorch's. It draws from
    torch's default generator; after `discard_drawn` the same seed drops the same values.

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
    """Masks for `x` and for the next steps: 0, or the factor that scales up the kept values."""
    n_steps = max(1, VALUES_AHEAD // max(1, x.numel()))
    n = n_steps * x.numel()
    words = torch.empty((n + 3) // 4, dtype=torch.int64)
    words.random_(-(2**63), None)
    # 0 or 1, then 0 or the scale: operations that a CPU vectorizes
    kept = words.view(torch.int16)[:n].float().ge_(n_dropped - N_LEVELS // 2)
    kept.mul_(N_LEVELS / (N_LEVELS - n_dropped))
    return list(kept.to(x.dtype).view(n_steps, *x.shape).unbind())


def use_quick_dropout(network: nn.Module) -> None:
    """Makes every plain dropout of `network` a `QuickDropout`, in place."""
    for module in network.modules():
        if type(module) is nn.Dropout and not module.inplace:
            # keeps the object; only its forward differs
            module.__class__ = QuickDropout


def discard_drawn(network: nn.Module) -> None:
    """Discards masks drawn ahead, so that what is dropped depends on the current seed alone."""
    for module in network.modules():
        if isinstance(module, QuickDropout):
            vars(module).pop("_ahead", None)
