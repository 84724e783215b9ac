"""Data-parallel training: several processes train one network, each on a shard of every batch.

`fit.train_network` gets the rank; whoever starts the processes has initialized torch's default
process group. All have the same weights, draw the same batches and make the same decisions.
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
    """The rank of this process, from 0, and the number of processes; a single one is 0 of 1.

    Source: Li et al. 2020, "PyTorch Distributed", arXiv:2006.15704 (data-parallel training; here
    gradients are reduced in one call after the backward pass, not while it runs).
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def shard(self, n: int) -> slice:
        """The shard of this process among `n` rows; sizes differ by at most one."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def all_reduce_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sums the gradients of all processes, each of which has those of its shard's loss."""
        gradients = [one.grad for one in parameters if one.grad is not None]
        if self.size == 1 or not gradients:
            return
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))

    def all_reduce(self, x: Tensor) -> Tensor:
        """The sum of `x` over all processes, on each of them; gradients flow back to all."""
        if self.size == 1:
            return x
        total: Tensor = _Sum.apply(x)
        return total

    def all_gather(
        self, part: NDArray[np.float32], n: int, *, device: torch.device
    ) -> NDArray[np.float32]:
        """All `n` rows (n, width), on each process; `part` are those of `shard(n)`."""
        if self.size == 1:
            return part
        gathered = torch.zeros(n, part.shape[1], device=device)
        gathered[self.shard(n)] = torch.from_numpy(part).to(device)
        dist.all_reduce(gathered)
        rows: NDArray[np.float32] = gathered.cpu().numpy()
        return rows

    def broadcast(self, value: Any, *, device: torch.device) -> Any:
        """The first process's `value`, on each of them; that of the others is ignored."""
        if self.size == 1:
            return value
        sent = [value]
        dist.broadcast_object_list(sent, src=0, device=device)
        return sent[0]


SINGLE_PROCESS = Ranks()


class _Sum(torch.autograd.Function):
    """Differentiable all-reduce: each process's part has the gradients of all processes."""

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
