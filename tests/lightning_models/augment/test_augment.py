import numpy as np
import pytest
import torch

from chorale.lightning_models.augment import mixup, spec_augment


def test_mixup_blends_each_crop_with_that_of_the_returned_shift() -> None:
    x = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 1, 2, 3).contiguous()
    blended, keep, shift = mixup(x, alpha=0.5, rng=np.random.default_rng(0))
    numbers = torch.arange(6.0)
    expected = keep * numbers + (1 - keep) * numbers.roll(shift)
    torch.testing.assert_close(blended[:, 0, 0, 0], expected)
    assert keep.min() >= 0.5
    assert keep.max() <= 1.0


def test_mixup_is_reproducible() -> None:
    x = torch.randn(8, 1, 3, 5)
    first, second = (mixup(x, alpha=0.3, rng=np.random.default_rng(4))[0] for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize(("shares", "dim"), [((0.5, 0.0), 2), ((0.0, 0.5), 3)])
def test_spec_augment_masks_whole_bands_and_time_spans_within_the_share(
    shares: tuple[float, float], dim: int
) -> None:
    x = torch.ones(64, 2, 20, 30)
    masked = spec_augment(x, n_masks=1, shares=shares, rng=np.random.default_rng(0))
    hidden = (masked == 0).float().mean(dim=(1, 5 - dim))  # (batch, size): 0 or 1 all along
    assert set(hidden.flatten().tolist()) == {0.0, 1.0}
    assert hidden.mean(dim=1).max() <= 0.5 + 1 / hidden.shape[1]
    assert 0.15 < hidden.mean() < 0.35
    assert x.min() == 1  # the crop itself is left alone


def test_spec_augment_with_share_0_masks_nothing() -> None:
    x = torch.randn(4, 1, 10, 10)
    assert torch.equal(
        spec_augment(x, n_masks=2, shares=(0.0, 0.0), rng=np.random.default_rng(0)), x
    )
