"""The processes that train one network together: each takes its share of every batch.

`fit.train` is told which one this is; whoever starts them has joined them into torch's default
process group. All hold the same weights, draw the same batches and come to the same decisions.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn


@dataclass(frozen=True)
class Ranks:
    """Which process this is: number `rank`, counted from 0, of `size`; alone it is 0 of 1.

    Source: Li et al. 2020, "PyTorch Distributed", arXiv:2006.15704 (data-parallel training; here
    gradients are added up in one go after the backward pass, and not while it runs).
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes files."""
        return self.rank == 0

    def share(self, n: int) -> slice:
        """Which of `n` rows are this process's: sizes differ by one at most."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Adds up the gradients of all processes: each has that of its share of the loss."""
        gradients = [one.grad for one in parameters if one.grad is not None]
        if self.size == 1 or not gradients:
            return
        whole = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(whole)
        parts = torch.split(whole, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))

    def sum(self, x: Tensor) -> Tensor:
        """The sum of what all processes have, on each of them; gradients flow back to all."""
        if self.size == 1:
            return x
        total: Tensor = _Sum.apply(x)
        return total

    def gather(
        self, part: NDArray[np.float32], n: int, *, device: torch.device
    ) -> NDArray[np.float32]:
        """All `n` rows (n, width), on each process, of which `part` are those of `share(n)`."""
        if self.size == 1:
            return part
        whole = torch.zeros(n, part.shape[1], device=device)
        whole[self.share(n)] = torch.from_numpy(part).to(device)
        dist.all_reduce(whole)
        rows: NDArray[np.float32] = whole.cpu().numpy()
        return rows

    def from_first(self, value: Any, *, device: torch.device) -> Any:
        """What the first process has, on each of them; `value` is not looked at on the others."""
        if self.size == 1:
            return value
        sent = [value]
        dist.broadcast_object_list(sent, src=0, device=device)
        return sent[0]


ALONE = Ranks()


class _Sum(torch.autograd.Function):
    """Adds up over all processes: what changes one's part changes the sum that each sees."""

    @staticmethod
    def forward(_context: Any, x: Tensor) -> Tensor:
        total = x.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total
