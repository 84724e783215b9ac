"""Pretrained weights: loaded without running code; frozen stages and lr scales in ResNet-18."""

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from chorale.datasets.errors import UserError
from chorale.lightning_models.architectures import resnet18
from chorale.lightning_models.pretrained import to_channels
from chorale.lightning_models.train_config import TrainConfig
from chorale.lightning_models.training import checkpoint
from chorale.lightning_models.training.module import GenreClassifier

PICTURE = (3, 32, 40)
N_CLASSES = 5


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the weights of a ResNet-18 with non-trivial batch norms, in both formats."""
    import torchvision  # here, as every process collects this file

    torch.manual_seed(5)
    trained = torchvision.models.resnet18(weights=None).train()
    trained(normal(8, 3, 64, 64))  # its batch norms are no longer as they were made
    folder = tmp_path_factory.mktemp("weights")
    torch.save(trained.state_dict(), folder / "resnet.pth")
    safetensors.torch.save_file(trained.state_dict(), folder / "resnet.safetensors")
    return folder


@pytest.fixture
def path(folder: Path) -> str:
    return str(folder / "resnet.safetensors")


def resnet(n_channels: int = 3, **values: Any) -> Any:
    torch.manual_seed(0)
    return resnet18.build(resnet18.Config(**values), (n_channels, *PICTURE[1:]), N_CLASSES)


@pytest.mark.parametrize("name", ["resnet.pth", "resnet.safetensors"])
def test_resnet18_loads_the_weights_of_a_file(folder: Path, name: str) -> None:
    import torchvision

    original = torchvision.models.resnet18(weights=None)
    original.load_state_dict(torch.load(folder / "resnet.pth", weights_only=True))
    original.fc = nn.Identity()
    x = normal(2, *PICTURE)
    started = resnet(weights=str(folder / name)).eval()
    assert torch.equal(started.embed(x), original.eval()(x))


def test_old_files_without_batch_norm_counters_are_accepted(folder: Path, tmp_path: Path) -> None:
    state = safetensors.torch.load_file(folder / "resnet.safetensors")
    old = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "old.pth")
    x, expected = normal(2, *PICTURE), resnet(weights=str(folder / "resnet.safetensors"))
    loaded = resnet(weights=str(tmp_path / "old.pth"))
    assert torch.equal(loaded.eval().embed(x), expected.eval().embed(x))


@pytest.mark.parametrize("n_channels", [1, 2, 4])
def test_equal_channels_give_the_same_output_for_any_number_of_channels(
    path: str, n_channels: int
) -> None:
    grey = normal(2, 1, *PICTURE[1:])
    if n_channels == 4:  # colours as they were, nothing where nothing is transparent
        x = torch.cat([grey.expand(-1, 3, -1, -1), torch.zeros_like(grey)], dim=1)
    else:
        x = grey.expand(-1, n_channels, -1, -1)
    coloured, other = resnet(weights=path).eval(), resnet(n_channels, weights=path).eval()
    seen = coloured.embed(grey.expand(-1, 3, -1, -1))
    torch.testing.assert_close(other.embed(x), seen, rtol=1e-4, atol=1e-4)


def test_an_alpha_channel_keeps_the_weights_of_colours() -> None:
    weight = normal(8, 3, 7, 7)
    fitted = to_channels(weight, 4)
    assert torch.equal(fitted[:, :3], weight)
    torch.testing.assert_close(fitted[:, 3], weight.mean(dim=1))


@pytest.mark.parametrize("frozen", [0, 1, 2, 3, 4])
def test_frozen_stages_and_their_batch_norm_statistics_do_not_change(
    path: str, frozen: int
) -> None:
    stages = [("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",), ("layer4",)]
    still = {part for stage in stages[:frozen] for part in stage}
    built = resnet(weights=path, frozen=frozen).train()
    before = {name: value.clone() for name, value in built.body.state_dict().items()}
    built(normal(4, *PICTURE)).square().sum().backward()
    trained = {n.split(".")[0] for n, p in built.body.named_parameters() if p.grad is not None}
    moved = {
        name.split(".")[0]
        for name, value in built.body.state_dict().items()
        if "running" in name and not torch.equal(value, before[name])
    }
    norms = {"bn1", "layer1", "layer2", "layer3", "layer4"}
    assert trained == (norms | {"conv1"}) - still
    assert moved == norms - still
    assert built.head.weight.grad is not None


def test_each_earlier_stage_has_a_lower_learning_rate(path: str) -> None:
    built = resnet(weights=path, frozen=1, lr_decay=0.5)
    assert built.lr_scales == {
        "body.layer1.": 0.5**4,
        "body.layer2.": 0.5**3,
        "body.layer3.": 0.5**2,
        "body.layer4.": 0.5,
    }
    names = [name for name, p in built.named_parameters() if p.requires_grad]
    without = [name for name in names if not name.startswith(tuple(built.lr_scales))]
    assert without == ["head.weight", "head.bias"]


def test_the_stem_has_the_lowest_learning_rate_if_nothing_is_frozen(path: str) -> None:
    built = resnet(weights=path, lr_decay=0.5)
    assert built.lr_scales["body.conv1."] == built.lr_scales["body.bn1."] == 0.5**5


def test_without_pretrained_weights_nothing_is_frozen_or_scaled() -> None:
    built = resnet(frozen=4, lr_decay=0.3).train()
    assert built.lr_scales == {}
    assert all(p.requires_grad for p in built.parameters())
    assert all(module.training for module in built.modules())


def test_weights_are_not_in_the_search_space() -> None:
    assert "weights" not in resnet18.SPACE
    assert resnet18.Config().weights == "none"


def test_imagenet_weights_are_read_from_torchs_cache(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    cached.parent.mkdir(parents=True)
    cached.symlink_to(folder / "resnet.pth")
    built = resnet(weights="imagenet")
    wanted = safetensors.torch.load_file(folder / "resnet.safetensors")
    assert torch.equal(built.body.layer4[1].conv2.weight, wanted["layer4.1.conv2.weight"])


def test_imagenet_weights_are_never_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a download was tried")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", download)
    with pytest.raises(UserError) as caught:
        resnet(weights="imagenet")
    message = str(caught.value)
    assert str(tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth") in message
    assert "python -c" in message
    assert "'none'" in message


class Trap:
    """Code that unpickling would run."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.sprung,)


def test_a_file_of_weights_runs_no_code(tmp_path: Path) -> None:
    torch.save({"conv1.weight": Trap(tmp_path / "sprung")}, tmp_path / "trap.pth")
    with pytest.raises(UserError, match="cannot be read"):
        resnet(weights=str(tmp_path / "trap.pth"))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.pth", None, "there is no file"),
        ("noise.pth", b"no weights at all", "cannot be read"),
        ("empty.pth", b"", "cannot be read"),
        ("noise.safetensors", b"no weights at all", "cannot be read"),
        ("list.pth", [torch.ones(2)], "holds no state dict"),
        ("nested.pth", {"state_dict": {"conv1.weight": torch.ones(2)}}, "holds no state dict"),
        ("other.pth", {"conv1.weight": torch.ones(2)}, "bn1.bias is missing there"),
    ],
)
def test_the_error_for_unavailable_weights_has_the_reason_and_the_fix(
    tmp_path: Path, name: str, content: Any, message: str
) -> None:
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif content is not None:
        torch.save(content, tmp_path / name)
    with pytest.raises(UserError, match=message) as caught:
        resnet(weights=str(tmp_path / name))
    assert str(tmp_path / name) in str(caught.value)
    assert "'none'" in str(caught.value)


def test_weights_of_another_shape_are_named_in_the_error(folder: Path, tmp_path: Path) -> None:
    state = safetensors.torch.load_file(folder / "resnet.safetensors")
    state["layer1.0.conv1.weight"] = torch.zeros(32, 64, 3, 3)
    safetensors.torch.save_file(state, tmp_path / "wide.safetensors")
    with pytest.raises(UserError, match=r"layer1\.0\.conv1\.weight is \(32, 64, 3, 3\) there"):
        resnet(weights=str(tmp_path / "wide.safetensors"))


def test_loading_a_checkpoint_needs_no_pretrained_weights(folder: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    start.symlink_to(folder / "resnet.safetensors")
    config = resnet18.Config(weights=str(start), frozen=2, lr_decay=0.5)
    module = GenreClassifier(
        architecture="resnet18",
        config=config,
        train_config=TrainConfig(),
        input_shape=PICTURE,
        n_classes=N_CLASSES,
    ).eval()
    checkpoint.save_checkpoint(tmp_path / "kept", module, {"labels": list("abcde")})
    start.unlink()
    loaded, _ = checkpoint.load_checkpoint(tmp_path / "kept")
    x = normal(2, *PICTURE)
    assert torch.equal(loaded(x), module(x))
    assert loaded.config == config
