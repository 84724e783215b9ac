import pytest
import torch
from torch import Tensor, nn

from chorale.lightning_models.training.ema import Ema


def network() -> nn.Module:
    torch.manual_seed(0)
    conv = nn.Conv2d(1, 4, 3)
    conv.weight.data = conv.weight.data.contiguous(memory_format=torch.channels_last)
    return nn.Sequential(conv, nn.BatchNorm2d(4))


def random_walk(net: nn.Module, average: Ema, n: int) -> list[dict[str, Tensor]]:
    """Changes all weights at random and updates batch norm; records each state."""
    seen = []
    for _ in range(n):
        with torch.no_grad():
            for p in net.parameters():
                p.add_(torch.randn_like(p))
        net.train()(torch.randn(2, 1, 5, 5) + 3)
        average.update()
        seen.append({name: value.clone() for name, value in net.state_dict().items()})
    return seen


def averaged_weights(net: nn.Module, average: Ema) -> dict[str, Tensor]:
    with average.applied():
        return {name: value.clone() for name, value in net.state_dict().items()}


@pytest.mark.parametrize("decay", [0.5, 0.9])
def test_ema_is_the_exponentially_weighted_mean_of_the_weights(decay: float) -> None:
    net = network()
    average = Ema(net, decay)
    seen = random_walk(net, average, 6)
    shares = torch.tensor([decay ** (5 - i) for i in range(6)])
    shares /= shares.sum()
    for name, value in averaged_weights(net, average).items():
        if value.is_floating_point():  # running statistics of batch norm among them
            expected = sum(share * s[name] for share, s in zip(shares, seen, strict=True))
            torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5)


def test_after_one_step_ema_equals_that_steps_weights() -> None:
    net = network()
    average = Ema(net, 0.99)
    (seen,) = random_walk(net, average, 1)
    for name, value in averaged_weights(net, average).items():
        torch.testing.assert_close(value, seen[name])


def test_counters_are_not_averaged() -> None:
    net = network()
    average = Ema(net, 0.9)
    random_walk(net, average, 5)
    assert averaged_weights(net, average)["1.num_batches_tracked"] == 5


def test_after_applied_the_network_has_its_own_weights_even_after_an_error() -> None:
    net = network()
    average = Ema(net, 0.9)
    before = random_walk(net, average, 4)[-1]

    def fail() -> None:
        with average.applied():
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not torch.equal(averaged_weights(net, average)["0.weight"], before["0.weight"])
