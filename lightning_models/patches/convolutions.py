"""Workaround for wrong weight gradients of narrow strided bf16 convolutions on CPUs.

`Classifier` applies it when it builds a network. Seen with PyTorch 2.11 on a CPU with AVX-512 bf16:
where the input is no wider than the stride, a kernel wider than 1 gets a gradient of arbitrary
numbers, up to 1e36 and NaN, and the training diverges in its first epoch. A scan of 3,750 shapes
found no other wrong ones.
"""

import torch
from torch import Tensor, nn


class NarrowConv2d(nn.Conv2d):
    """A convolution that computes inputs no wider than its stride in float32 on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n_in, h, w) -> (batch, n_out, h_out, w_out)."""
        narrow = x.device.type == "cpu" and x.shape[-1] <= self.stride[1]
        if narrow and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float())
        return super().forward(x)


def use_narrow_conv2d(network: nn.Module) -> None:
    """Makes every convolution of `network` that could be affected a `NarrowConv2d`, in place."""
    for module in network.modules():
        if type(module) is nn.Conv2d and module.stride[1] > 1 and module.kernel_size[1] > 1:
            # keeps the object and its weights; only its forward differs
            module.__class__ = NarrowConv2d
