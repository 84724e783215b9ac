import pytest
import torch
from torch import Tensor, nn

from chorale.lightning_models.training.ema import Average


def network() -> nn.Module:
    torch.manual_seed(0)
    conv = nn.Conv2d(1, 4, 3)
    conv.weight.data = conv.weight.data.contiguous(memory_format=torch.channels_last)
    return nn.Sequential(conv, nn.BatchNorm2d(4))


def walk(net: nn.Module, average: Average, n: int) -> list[dict[str, Tensor]]:
    """Moves all weights at random and lets the batch norm see something; notes each state."""
    seen = []
    for _ in range(n):
        with torch.no_grad():
            for p in net.parameters():
                p.add_(torch.randn_like(p))
        net.train()(torch.randn(2, 1, 5, 5) + 3)
        average.update()
        seen.append({name: value.clone() for name, value in net.state_dict().items()})
    return seen


def shown(net: nn.Module, average: Average) -> dict[str, Tensor]:
    with average.shown():
        return {name: value.clone() for name, value in net.state_dict().items()}


@pytest.mark.parametrize("decay", [0.5, 0.9])
def test_it_is_the_exponentially_weighted_mean_of_the_weights_seen(decay: float) -> None:
    net = network()
    average = Average(net, decay)
    seen = walk(net, average, 6)
    shares = torch.tensor([decay ** (5 - i) for i in range(6)])
    shares /= shares.sum()
    for name, value in shown(net, average).items():
        if value.is_floating_point():  # running statistics of batch norm among them
            expected = sum(share * s[name] for share, s in zip(shares, seen, strict=True))
            torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5)


def test_after_one_step_it_is_that_steps_weights_whatever_came_before() -> None:
    net = network()
    average = Average(net, 0.99)
    (seen,) = walk(net, average, 1)
    for name, value in shown(net, average).items():
        torch.testing.assert_close(value, seen[name])


def test_counters_are_not_averaged() -> None:
    net = network()
    average = Average(net, 0.9)
    walk(net, average, 5)
    assert shown(net, average)["1.num_batches_tracked"] == 5


def test_after_the_look_the_network_has_its_own_weights_again_also_after_an_error() -> None:
    net = network()
    average = Average(net, 0.9)
    before = walk(net, average, 4)[-1]

    def fail() -> None:
        with average.shown():
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not torch.equal(shown(net, average)["0.weight"], before["0.weight"])
