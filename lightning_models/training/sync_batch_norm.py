"""Synchronized batch norm for data-parallel training: statistics over the batch of all processes.

`fit.train_network` uses it where there are several; torch's own `SyncBatchNorm` needs a GPU.
"""

import torch
from torch import Tensor, nn

from chorale.lightning_models.patches._torch import BatchNorm, check_input
from chorale.lightning_models.training.ranks import SINGLE_PROCESS, Ranks


class _SharedBatchNorm(BatchNorm):
    """Batch norm whose training statistics are over the rows of all processes."""

    ranks: Ranks = SINGLE_PROCESS

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n_channels, ...) -> the same shape and type."""
        if not self.training:
            return super().forward(x)
        check_input(self, x)
        with torch.autocast(x.device.type, enabled=False):
            return self._normalised(x.float()).to(x.dtype)

    def _normalised(self, x: Tensor) -> Tensor:
        dims = [0, *range(2, x.ndim)]
        shape = [1, -1, *[1] * (x.ndim - 2)]
        here = x.new_tensor([x.numel() // x.shape[1]])
        sums = self.ranks.all_reduce(torch.cat([x.sum(dims), here]))
        n, mean = sums[-1].detach(), sums[:-1] / sums[-1].detach()
        # not from the sum of squares, which loses a small variance's digits if the mean is large
        centered = x - mean.view(shape)
        variance = self.ranks.all_reduce(centered.square().sum(dims)) / n
        self._update_running(mean.detach(), variance.detach() * n / (n - 1).clamp(min=1))
        normalized = centered * torch.rsqrt(variance + self.eps).view(shape)
        if self.weight is None:
            return normalized
        return normalized * self.weight.view(shape) + self.bias.view(shape)

    def _update_running(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        share = self.momentum
        if share is None:  # the cumulative average of all batches
            share = 1.0 / float(self.num_batches_tracked or 1)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


class SharedBatchNorm1d(_SharedBatchNorm, nn.BatchNorm1d):
    """For (batch, n_channels) or (batch, n_channels, n_frames)."""


class SharedBatchNorm2d(_SharedBatchNorm, nn.BatchNorm2d):
    """For (batch, n_channels, n_bins, n_frames)."""


def synchronize_batch_norm(network: nn.Module, ranks: Ranks) -> None:
    """Synchronizes every batch norm of `network` over all processes, in place."""
    kinds: dict[type[nn.Module], type[_SharedBatchNorm]]
    kinds = {nn.BatchNorm1d: SharedBatchNorm1d, nn.BatchNorm2d: SharedBatchNorm2d}
    for module in network.modules():
        if type(module) in kinds:
            # keeps the object and its weights, as in `convolutions.use_narrow_conv2d`
            module.__class__ = kinds[type(module)]
            vars(module)["ranks"] = ranks
