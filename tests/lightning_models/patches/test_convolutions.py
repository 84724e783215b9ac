import pytest
import torch
from torch import Tensor, nn

from chorale.lightning_models.patches.convolutions import NarrowConv2d, use_narrow_conv2d

SHAPES = [(h, w) for h in (1, 2, 3, 7) for w in (1, 2, 3, 5)]


def fill_freed_memory() -> None:
    """Fills freed memory with large numbers, which show up in values that are never written."""
    for size in (2**k for k in range(6, 18)):
        for tensor in [torch.full((size,), 1e30) for _ in range(4)]:
            del tensor


def gradient(conv: nn.Module, x: Tensor, seen: Tensor, *, bf16: bool) -> Tensor:
    conv.zero_grad()
    fill_freed_memory()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        out = conv(x)
    (out.float() * seen).sum().backward()
    weight = conv.get_parameter("0.weight")
    assert weight.grad is not None
    return weight.grad


@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (1, 2), (4, 4)])
@pytest.mark.parametrize("size", SHAPES)
def test_bf16_gradients_equal_float32_gradients(
    stride: tuple[int, int], size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    conv = nn.Sequential(nn.Conv2d(16, 24, 3, stride, 1, bias=False))
    conv.to(memory_format=torch.channels_last)
    use_narrow_conv2d(conv)
    x = torch.randn(8, 16, *size)
    seen = torch.randn_like(conv(x))
    right = gradient(conv, x, seen, bf16=False).clone()
    ours = gradient(conv, x, seen, bf16=True)
    assert (ours - right).abs().max() < 0.05 * right.abs().max()


def test_only_affected_convolutions_change_class_and_they_keep_their_weights() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3, stride=2), nn.Conv2d(2, 2, 1, stride=2)
    )
    before = {name: value.clone() for name, value in network.state_dict().items()}
    use_narrow_conv2d(network)
    assert [type(module) for module in network] == [nn.Conv2d, NarrowConv2d, nn.Conv2d]
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
