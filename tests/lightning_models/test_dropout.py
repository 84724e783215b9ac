import pytest
import torch
from torch import nn

from chorale.lightning_models.dropout import (
    VALUES_AHEAD,
    QuickDropout,
    discard_drawn,
    use_quick_dropout,
)

P = 0.3
N = 400_000


def dropped(p: float, x: torch.Tensor, *, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    out: torch.Tensor = QuickDropout(p)(x)
    return out


@pytest.mark.parametrize("p", [0.001, 0.1, 0.3, 0.5, 0.9])
def test_the_share_of_dropped_values_and_the_mean_are_right(p: float) -> None:
    out = dropped(p, torch.ones(N))
    gone = float((out == 0).float().mean())
    assert abs(gone - p) < 5 * (p * (1 - p) / N) ** 0.5 + 1 / 2**16
    kept = out[out != 0]
    assert torch.all(kept == kept[0])
    assert float(kept[0]) == pytest.approx(1 / (1 - p), rel=2e-4)


def test_dropped_values_are_independent_of_their_neighbours() -> None:
    gone = (dropped(P, torch.ones(N)) == 0).double() - P
    for distance in (1, 2, 3, 4, 5, 8, 64):  # four values come from one draw
        together = float((gone[distance:] * gone[:-distance]).mean())
        assert abs(together) < 5 * P * (1 - P) / N**0.5


def test_gradients_use_the_same_mask() -> None:
    x = torch.randn(64, 128, requires_grad=True)
    out = dropped(P, x)
    torch.autograd.backward(out.sum())
    assert x.grad is not None
    assert torch.equal(x.grad == 0, out == 0)
    assert torch.equal(out, x.detach() * x.grad)


@pytest.mark.parametrize(
    "n", [12, 13, 4096, VALUES_AHEAD - 1, VALUES_AHEAD, VALUES_AHEAD + 1, VALUES_AHEAD + 2]
)
def test_the_same_seed_drops_the_same_values_for_any_size(n: int) -> None:
    x = torch.randn(n)
    assert torch.equal(dropped(P, x, seed=3), dropped(P, x, seed=3))
    assert not torch.equal(dropped(P, x, seed=3), dropped(P, x, seed=4))


def test_each_step_has_its_own_mask_and_discarding_makes_it_depend_on_the_seed() -> None:
    x = torch.ones(64, 100)
    network = nn.Sequential(QuickDropout(P))
    torch.manual_seed(0)
    steps = [
        network(x) for _ in range(2 * VALUES_AHEAD // x.numel() + 2)
    ]  # more than one drawing ahead
    for n, one in enumerate(steps):
        assert all(not torch.equal(one, other) for other in steps[:n])
    torch.manual_seed(0)
    assert not torch.equal(network(x), steps[0])  # was drawn before
    discard_drawn(network)
    torch.manual_seed(0)
    assert torch.equal(network(x), steps[0])
    assert network(torch.ones(3, 5)).shape == (3, 5)  # another shape is drawn for anew


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtype_and_shape_are_kept(dtype: torch.dtype) -> None:
    x = torch.randn(8, 16, 64, dtype=dtype)
    out = dropped(P, x)
    assert (out.dtype, out.shape) == (x.dtype, x.shape)


def test_probabilities_0_and_1_work_and_evaluation_drops_nothing() -> None:
    x = torch.randn(4096)
    assert torch.equal(dropped(0.0, x), x)
    assert not dropped(1.0, x).any()
    judging = QuickDropout(P).eval()
    assert torch.equal(judging(x), x)


def test_only_plain_dropout_is_replaced() -> None:
    network = nn.Sequential(nn.Dropout(P), nn.Dropout2d(P), nn.Dropout(P, inplace=True))
    use_quick_dropout(network)
    assert [type(module) for module in network] == [QuickDropout, nn.Dropout2d, nn.Dropout]
