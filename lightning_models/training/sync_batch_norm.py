"""Batch norm over a batch that several processes share, as if one of them saw all of it.

`fit.train` asks for it where there are several; torch's own `SyncBatchNorm` needs a GPU.
"""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from chorale.lightning_models.training.ranks import ALONE, Ranks


class _Shared(_BatchNorm):
    """Takes mean and variance over the rows of all processes while it trains."""

    ranks: Ranks = ALONE

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n_channels, ...) -> the same shape and type."""
        if not self.training:
            return super().forward(x)
        self._check_input_dim(x)  # type: ignore[no-untyped-call]
        with torch.autocast(x.device.type, enabled=False):
            return self._normalised(x.float()).to(x.dtype)

    def _normalised(self, x: Tensor) -> Tensor:
        dims = [0, *range(2, x.ndim)]
        shape = [1, -1, *[1] * (x.ndim - 2)]
        here = x.new_tensor([x.numel() // x.shape[1]])
        sums = self.ranks.sum(torch.cat([x.sum(dims), here]))
        n, mean = sums[-1].detach(), sums[:-1] / sums[-1].detach()
        # not from the sum of squares: that loses the digits of a small variance far from zero
        far = x - mean.view(shape)
        variance = self.ranks.sum(far.square().sum(dims)) / n
        self._remember(mean.detach(), variance.detach() * n / (n - 1).clamp(min=1))
        far = far * torch.rsqrt(variance + self.eps).view(shape)
        if self.weight is None:
            return far
        return far * self.weight.view(shape) + self.bias.view(shape)

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        share = self.momentum
        if share is None:  # a plain average of all batches
            share = 1.0 / float(self.num_batches_tracked or 1)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


class SharedBatchNorm1d(_Shared, nn.BatchNorm1d):
    """Of (batch, n_channels) or (batch, n_channels, n_frames)."""


class SharedBatchNorm2d(_Shared, nn.BatchNorm2d):
    """Of (batch, n_channels, n_bins, n_frames)."""


def share(network: nn.Module, ranks: Ranks) -> None:
    """Lets every batch norm of `network` see the batch of all processes, in place."""
    kinds: dict[type[nn.Module], type[_Shared]]
    kinds = {nn.BatchNorm1d: SharedBatchNorm1d, nn.BatchNorm2d: SharedBatchNorm2d}
    for module in network.modules():
        if type(module) in kinds:
            # the same object with the same weights, as in `convolutions.mend`
            module.__class__ = kinds[type(module)]
            vars(module)["ranks"] = ranks
