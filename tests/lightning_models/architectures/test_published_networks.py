"""The five reports' networks have their published sizes and special properties.

What every architecture does is in the contract suite.
"""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chorale.datasets import plugins
from chorale.lightning_models import architectures
from chorale.lightning_models.base import InputShape
from chorale.lightning_models.layers import soft_clip, to_grid

N_CLASSES = 5


def network(name: str, values: Mapping[str, Any], shape: InputShape, n_classes: int) -> Any:
    file = plugins.load_plugin(architectures, name, kind="architecture")
    return file.build(file.Config(**values), shape, n_classes)


def default(name: str, i: int) -> dict[str, Any]:
    point = plugins.load_plugin(architectures, name, kind="architecture").DEFAULTS[i]
    return {key: value for key, value in point.items() if not key.startswith("train.")}


def weightless(name: str, i: int, shape: InputShape, n_classes: int) -> Any:
    """Default `i` on the meta device: its parameters are counted without memory."""
    with torch.device("meta"):
        return network(name, default(name, i), shape, n_classes)


def seeded(name: str, values: Mapping[str, Any], shape: InputShape) -> Any:
    torch.manual_seed(0)
    return network(name, values, shape, N_CLASSES).eval()


def size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("name", "i", "shape", "n_classes", "n_parameters"),
    [
        ("softmax_regression", 1, (1, 518, 1), 16, 518 * 16 + 16),
        ("mlp", 1, (1, 518, 1), 16, 519 * 256 + 257 * 128 + 129 * 64 + 65 * 16),
        ("mlp", 2, (1, 518, 1), 16, 519 * 512 + 513 * 256 + 257 * 128 + 129 * 64 + 65 * 16),
        ("conv1d", 1, (1, 518, 1), 16, 2_122_800),  # the report's own figure
        ("feature_cnn", 1, (1, 57, 1), 10, 128 + 6_208 + (64 * 15 + 1) * 64 + 65 * 10),
        ("image_cnn", 1, (4, 288, 432), 10, 320 + 18_496 + (64 * 18 * 27 + 1) * 64 + 65 * 10),
        ("cnn", 2, (1, 13, 130), 10, 320 + 2 * 9_248 + 3 * 64 + (32 * 2 * 17 + 1) * 64 + 65 * 10),
        (
            "convnet",
            1,
            (1, 513, 1249),
            10,
            640 + 73_856 + 295_168 + 1_180_160 + 77_825 * 1024 + 1025 * 256 + 257 * 10,
        ),
        ("resnet18", 1, (3, 224, 224), 1000, 11_689_512),  # torchvision's own figure
        ("resnet18", 1, (1, 128, 1292), 10, 11_689_512 - 2 * 49 * 64 - 990 * 513),
        ("recurrent", 1, (1, 13, 130), 10, 256 * (13 + 66 + 64 + 66) + 65 * 64 + 65 * 10),
        ("recurrent", 2, (1, 128, 1292), 10, 256 * (1292 + 66 + 64 + 66) + 65 * 64 + 65 * 10),
    ],
)
def test_published_layers_have_the_published_number_of_parameters(
    name: str, i: int, shape: InputShape, n_classes: int, n_parameters: int
) -> None:
    assert size(weightless(name, i, shape, n_classes)) == n_parameters


def test_conv1d_flattens_518_features_to_as_many_values_as_published() -> None:
    built = weightless("conv1d", 1, (1, 518, 1), 16)
    linear = [m for m in built.modules() if isinstance(m, nn.Linear)]
    assert [m.in_features for m in linear] == [16_128, 128, 64, 32]
    assert linear[-1].out_features == 16


@pytest.mark.parametrize(
    ("n_bins", "n_frames"),
    [(513, 1249), (512, 1216), (575, 1279), (128, 4864), (257, 2432), (64, 9728)],
)
def test_convnets_first_dense_layer_has_the_published_width(n_bins: int, n_frames: int) -> None:
    built = weightless("convnet", 1, (1, n_bins, n_frames), 10)
    linear = [m for m in built.modules() if isinstance(m, nn.Linear)]
    assert [m.in_features for m in linear] == [77_824, 1024, 256]


def test_convnet_accepts_the_input_shape_that_it_was_built_for() -> None:
    small = network("convnet", {"width": 4, "dense": 16}, (1, 130, 200), N_CLASSES).eval()
    left = small.body(normal(2, 1, 200, 130))
    assert left.shape == (2, 32, 200 // 64, 130 // 64)
    assert to_grid(left, small.grid) is left


def test_a_longer_inputs_feature_map_is_averaged_to_the_grid_of_a_crop() -> None:
    x = normal(2, 3, 4, 5)
    torch.testing.assert_close(to_grid(x.repeat_interleave(3, dim=2), (4, 5)), x)


def test_the_embedding_of_softmax_regression_is_the_row_itself() -> None:
    x = normal(4, 1, 12, 1)
    built = seeded("softmax_regression", {"dropout": 0.5}, (1, 12, 1))
    assert torch.equal(built.embed(x), x.flatten(1))


@pytest.mark.parametrize("name", ["softmax_regression", "mlp", "conv1d", "feature_cnn"])
def test_clipping_bounds_the_effect_of_outliers(name: str) -> None:
    x, far = normal(4, 1, 20, 1), normal(4, 1, 20, 1)
    x[:, 0, 3], far[:, 0, 3] = 100.0, 10_000.0
    clipped, plain = (seeded(name, {"clip": clip}, (1, 20, 1)) for clip in (True, False))
    torch.testing.assert_close(clipped(x), clipped(far), rtol=0, atol=1e-2)
    assert (plain(x) - plain(far)).abs().max() > 1


def test_clipping_hardly_changes_usual_values() -> None:
    x = torch.tensor([-1e6, -0.5, 0.0, 0.5, 3.0, 1e6])
    expected = torch.tensor([-3.0, -0.493, 0.0, 0.493, 3 / 2**0.5, 3.0])
    torch.testing.assert_close(soft_clip(x), expected, rtol=0, atol=1e-3)


def test_conv1d_pads_a_narrow_row_with_zeros() -> None:
    narrow, wide = (seeded("conv1d", {}, (1, n, 1)) for n in (12, 16))
    row = normal(4, 1, 12, 1)
    filled = torch.cat([row, torch.zeros(4, 1, 4, 1)], dim=2)
    assert torch.equal(narrow(row), wide(filled))


def test_a_learned_order_is_invariant_to_permuted_columns_and_weights() -> None:
    built, moved = (seeded("feature_cnn", {"order": "learned"}, (1, 12, 1)) for _ in range(2))
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    moved.order[0].weight.data = built.order[0].weight.data[:, order]
    x = normal(4, 1, 12, 1)
    torch.testing.assert_close(moved(x[:, :, order]), built(x))


def test_a_grey_picture_is_the_mean_of_its_colours_without_alpha() -> None:
    built = seeded("image_cnn", {"grey": True}, (4, 40, 48))
    x, other = normal(2, 4, 40, 48), normal(2, 4, 40, 48, seed=2)
    other[:, :3] = x[:, :3].mean(dim=1, keepdim=True)
    torch.testing.assert_close(built(x), built(other))


def test_a_recurrent_network_over_bins_reads_them_in_order() -> None:
    built = seeded("recurrent", {"steps": "bins"}, (1, 20, 64))
    x = normal(2, 1, 20, 64)
    silent = x.clone()
    silent[:, :, 5:] = 0.0
    first = [built.layers(i[:, 0, :5])[0][:, -1] for i in (x, silent)]
    assert built.layers.input_size == 64
    assert torch.equal(first[0], first[1])
    expected = built.dense(built.layers(x[:, 0])[0][:, -1])
    torch.testing.assert_close(built.embed(x), expected)
