"""The networks taken from papers have their published sizes and properties."""

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chorale.lightning_models.architectures import (
    bc_resnet,
    cnn6,
    crnn,
    encoder_probe,
    mobilenet,
    short_chunk_cnn,
    spectrogram_transformer,
)
from chorale.lightning_models.base import InputShape
from chorale.lightning_models.layers import AttentionPool, conv_norm

PANNS_INPUT_NORM = 2 * 64
"""Weights of the batch norm on PANNs' 64 mel bins, which standardized features do not need."""


def built(file: ModuleType, shape: InputShape, n_classes: int = 5, **config: Any) -> Any:
    torch.manual_seed(0)
    return file.build(file.Config(**config), shape, n_classes)


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def n_weights(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def input_of(network: Any, part: nn.Module, x: Tensor) -> Tensor:
    """The input of `part` in a forward pass of `network` on `x`."""
    seen: list[Tensor] = []
    hook = part.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    network(x)
    hook.remove()
    return seen[0]


@pytest.mark.parametrize(
    ("size", "width", "n_channels", "n_classes", "published"),
    [
        ("large", 1.0, 3, 1000, 5_483_032),  # torchvision's mobilenet_v3_large
        ("small", 1.0, 3, 1000, 2_542_856),  # and mobilenet_v3_small
        ("large", 0.4, 1, 527, 983e3),  # EfficientAT: mn04, mn05, mn10, mn20
        ("large", 0.5, 1, 527, 1.43e6),
        ("large", 1.0, 1, 527, 4.88e6),
        ("large", 2.0, 1, 527, 17.91e6),
    ],
)
def test_mobilenet_has_the_published_number_of_weights(
    size: str, width: float, n_channels: int, n_classes: int, published: float
) -> None:
    network = built(mobilenet, (n_channels, 128, 100), n_classes, size=size, width=width)
    rounded = 0.0 if isinstance(published, int) else 1e-3
    assert n_weights(network) == pytest.approx(published, rel=rounded)


@pytest.mark.parametrize(
    ("tau", "published"),
    [(1.0, 9.2e3), (2.0, 27.3e3), (3.0, 54.2e3), (6.0, 188e3), (8.0, 321e3)],
)
def test_bc_resnet_has_the_published_number_of_weights(tau: float, published: float) -> None:
    network = built(bc_resnet, (1, 40, 101), 12, tau=tau, frame_stride=1)
    assert n_weights(network) == pytest.approx(published, rel=4e-3)


def test_cnn6_has_the_published_number_of_weights() -> None:
    network = built(cnn6, (1, 64, 100), 527, width=64)
    assert n_weights(network) == 4_837_455 - PANNS_INPUT_NORM


@pytest.mark.parametrize(("residual", "n_millions"), [(False, 3.7), (True, 12.1)])
def test_short_chunk_cnn_has_the_published_size(residual: bool, n_millions: float) -> None:
    network = built(short_chunk_cnn, (1, 128, 231), 50, width=128, residual=residual)
    assert n_weights(network) / 1e6 == pytest.approx(n_millions, abs=0.05)


def test_crnn_reads_29_seconds_in_15_steps_as_published() -> None:
    network = built(crnn, (1, 96, 1366), 50, width=4, frame_pool=4).eval()
    steps = input_of(network, network.recurrent, noise(1, 1, 96, 1366))
    assert steps.shape == (1, 15, 2 * 4)  # one bin is left


@pytest.mark.parametrize(("frame_pool", "n_steps"), [(2, 4), (3, 2), (4, 1)])
def test_crnn_pools_the_configured_number_of_frames(frame_pool: int, n_steps: int) -> None:
    network = built(crnn, (1, 40, 64), width=4, frame_pool=frame_pool).eval()
    assert input_of(network, network.recurrent, noise(2, 1, 40, 64)).shape[1] == n_steps


@pytest.mark.parametrize(("edge", "n_blocks"), [(128, 7), (65, 7), (64, 6), (9, 4), (1, 1)])
def test_short_chunk_cnn_has_at_most_as_many_blocks_as_halvings(edge: int, n_blocks: int) -> None:
    network = built(short_chunk_cnn, (1, edge, edge), width=4, n_blocks=7)
    assert len(network.body) == n_blocks


def test_sub_spectral_norm_normalizes_each_band_separately() -> None:
    loudness = torch.tensor([1.0, 10.0, 100.0]).repeat_interleave(4).view(1, 1, 12, 1)
    norm = bc_resnet.SubSpectralNorm(2, 12, 3).train()
    normed = norm(noise(8, 2, 12, 20) * loudness + loudness).unflatten(2, (3, 4))
    torch.testing.assert_close(normed.mean(dim=(0, 3, 4)), torch.zeros(2, 3), atol=1e-4, rtol=0)
    torch.testing.assert_close(normed.std(dim=(0, 3, 4)), torch.ones(2, 3), atol=1e-2, rtol=0)


@pytest.mark.parametrize(("n_bins", "n_bands"), [(20, 5), (48, 4), (9, 3), (33, 3), (17, 1)])
def test_sub_spectral_norms_number_of_bands_divides_the_bins(n_bins: int, n_bands: int) -> None:
    assert bc_resnet.SubSpectralNorm(2, n_bins, 5).n_bands == n_bands


def test_bc_resnet_broadcasts_its_temporal_branch_to_all_bins() -> None:
    torch.manual_seed(0)
    config = bc_resnet.Config()
    block = bc_resnet.Block(4, 4, 10, config=config, stride=1, dilation=2).eval()
    x = noise(2, 4, 10, 20).abs() + 10  # far above zero, where ReLU changes nothing
    added = block(x) - x - block.along_bins(x)
    torch.testing.assert_close(added, added[:, :, :1].expand_as(added), atol=1e-4, rtol=0)
    assert added.abs().max() > 1e-3


@pytest.mark.parametrize(("channels", "nearest"), [(1, 8), (12, 16), (19, 24), (20, 24), (40, 40)])
def test_mobilenet_rounds_channels_to_multiples_of_8_but_not_far_down(
    channels: int, nearest: int
) -> None:
    assert mobilenet.round_to_8(channels) == nearest


def test_squeeze_excitation_scales_channels_by_the_whole_input() -> None:
    torch.manual_seed(0)
    x = noise(2, 16, 6, 7)
    factors = mobilenet.SqueezeExcitation(16)(x) / x
    torch.testing.assert_close(factors, factors[:, :, :1, :1].expand_as(factors))
    assert ((factors > 0) & (factors < 1)).all()


def test_depthwise_convolution_is_exact_under_bf16_on_a_cpu() -> None:
    torch.manual_seed(0)
    layer, x = mobilenet.Depthwise(3, 3, 5, 2, 2, groups=3, bias=False), noise(2, 3, 9, 9)
    exact = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer(x), exact)
        assert layer(x.bfloat16()).dtype == torch.bfloat16


def test_sinusoidal_positions_of_a_longer_crop_begin_with_those_of_a_shorter_one() -> None:
    shorter = spectrogram_transformer.sinusoidal_positions(5, 16)
    longer = spectrogram_transformer.sinusoidal_positions(9, 16)
    assert torch.equal(longer[:5], shorter)
    assert len({tuple(place) for place in longer.round(decimals=4).tolist()}) == 9


def test_learned_positions_are_interpolated_for_longer_crops_and_truncated_for_shorter_ones() -> (
    None
):
    torch.manual_seed(0)
    learned = spectrogram_transformer.LearnedPositions(4, 5, 3)
    own, longer, shorter = (learned(torch.zeros(1, n, 3, 4)) for n in (5, 10, 2))
    assert torch.equal(shorter, own[:2])
    assert longer.shape == (10, 3, 4)
    torch.testing.assert_close(longer[[0, -1]], own[[0, -1]])
    torch.testing.assert_close(longer[[1, 2]].mean(dim=0), own[[0, 1]].mean(dim=0))


def test_transformer_distinguishes_positions() -> None:
    network = built(spectrogram_transformer, (1, 32, 32), depth=2, width=64).eval()
    x = noise(1, 1, 32, 32)
    assert not torch.allclose(network(x), network(x.roll(16, dims=3)), atol=1e-3)
    assert not torch.allclose(network(x), network(x.roll(16, dims=2)), atol=1e-3)


def test_transformer_pads_the_last_patches_with_zeros() -> None:
    network = built(spectrogram_transformer, (1, 40, 60), depth=2, width=64).eval()
    x = noise(2, 1, 40, 60)
    padded = nn.functional.pad(x, (0, 4, 0, 8))  # patches have 16 bins and 8 frames
    torch.testing.assert_close(network(x), network(padded))


@pytest.mark.parametrize("stem", ["convolutions", "patches"])
@pytest.mark.parametrize(
    ("patch_bins", "patch_frames", "n_patches"), [(8, 4, 75), (16, 16, 12), (32, 4, 30)]
)
def test_both_stems_make_one_token_per_patch(
    stem: str, patch_bins: int, patch_frames: int, n_patches: int
) -> None:
    config: dict[str, Any] = {"stem": stem, "width": 64, "depth": 1}
    patch: dict[str, Any] = {"patch_bins": patch_bins, "patch_frames": patch_frames}
    network = built(spectrogram_transformer, (1, 40, 60), **config, **patch).eval()
    assert input_of(network, network.layers, noise(2, 1, 40, 60)).shape == (2, n_patches, 64)


@pytest.mark.parametrize(("pooling", "n_others"), [("mean", 0), ("cls", 1)])
def test_patches_are_left_out_in_training_only(pooling: str, n_others: int) -> None:
    config: dict[str, Any] = {"stem": "patches", "depth": 2, "width": 64}  # it has no batch norm
    network = built(
        spectrogram_transformer, (1, 32, 64), pooling=pooling, patch_dropout=0.5, **config
    )
    x = noise(3, 1, 32, 64)
    given = input_of(network.eval(), network.layers, x)
    kept = input_of(network.train(), network.layers, x)
    assert given.shape == (3, 16 + n_others, 64)
    assert kept.shape == (3, 8 + n_others, 64)
    was_there = (kept[:, :, None] == given[:, None]).all(dim=3)  # (crop, kept, given)
    assert (was_there.sum(dim=2) == 1).all()
    choices = {tuple(choice) for choice in was_there.any(dim=1).tolist()}
    assert len(choices) > 1  # not the same ones of each crop


def test_a_crop_that_skips_a_layer_is_unchanged() -> None:
    torch.manual_seed(0)
    config = spectrogram_transformer.Config(width=64, n_heads=4, layer_dropout=0.6)
    layer, x = spectrogram_transformer.TransformerLayer(config).train(), noise(64, 3, 64)
    untouched = (layer(x) == x).all(dim=(1, 2)).sum()
    assert 10 <= untouched <= 40  # 0.6 * 0.6 of them on average: past both halves
    assert not (layer.eval()(x) == x).all(dim=(1, 2)).any()


def test_a_probe_without_hidden_layer_is_linear_in_the_mean_frame() -> None:
    probe = built(encoder_probe, (1, 12, 7), pooling="mean", batch_norm=False, hidden=0).eval()
    x = noise(3, 1, 12, 7)
    torch.testing.assert_close(probe(x), probe.head(x[:, 0].mean(dim=2)))


def test_mean_and_deviation_of_a_constant_track_have_finite_gradients() -> None:
    probe = built(encoder_probe, (1, 12, 7), pooling="mean_std", batch_norm=False, dropout=0.0)
    x = noise(3, 1, 12, 1).expand(-1, -1, -1, 7).clone().requires_grad_()
    probe(x).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    torch.testing.assert_close(probe.embed(x)[:, :12], x[:, 0].mean(dim=2))
    assert probe.embed(x)[:, 12:].max() < 0.01


def test_attention_pooling_prefers_steps_that_match_its_query() -> None:
    pool = AttentionPool(4)
    steps = torch.zeros(1, 3, 4)
    steps[0, 1] = torch.tensor([9.0, 1.0, 2.0, 3.0])
    with torch.no_grad():
        pool.question.weight.copy_(torch.tensor([[0.0, 0.0, 0.0, 0.0]]))
        torch.testing.assert_close(pool(steps), steps.mean(dim=1))
        pool.question.weight.copy_(torch.tensor([[5.0, 0.0, 0.0, 0.0]]))
        torch.testing.assert_close(pool(steps), steps[:, 1])


@pytest.mark.parametrize(("stride", "size"), [(1, (9, 6)), (2, (5, 3)), ((1, 3), (9, 2))])
def test_conv_norm_keeps_the_size_except_for_its_stride(
    stride: int | tuple[int, int], size: tuple[int, int]
) -> None:
    layer = conv_norm(2, 4, (5, 3), stride=stride, dilation=(1, 2))
    assert layer(noise(2, 2, 9, 6)).shape == (2, 4, *size)


@pytest.mark.parametrize(
    "file",
    [bc_resnet, cnn6, crnn, encoder_probe, mobilenet, short_chunk_cnn, spectrogram_transformer],
    ids=lambda file: file.__name__.rpartition(".")[2],
)
def test_it_trains_in_bf16_with_channels_last(file: ModuleType) -> None:
    network = built(file, (1, 40, 64)).to(memory_format=torch.channels_last).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = network(noise(4, 1, 64, 40).transpose(2, 3))
    logits.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
