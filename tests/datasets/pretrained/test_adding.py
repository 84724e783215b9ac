from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chorale.datasets.errors import UserError
from chorale.datasets.pretrained.added import LOADERS
from chorale.datasets.pretrained.adding import add_encoder
from chorale.datasets.pretrained.checking import check_encoder
from chorale.datasets.pretrained.installed import (
    encoder_info,
    encoder_names,
    load_encoder,
    require_fetched,
)

Ship = Callable[..., None]


class Net(torch.nn.Module):
    """Frames of 100 samples, each with its mean and its largest value."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        frames = x.reshape(1, -1, 100)
        return torch.stack([frames.mean(2), frames.amax(2)], 2)


class Endless(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, None] / 0


class Flat(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[0]


def script(net: torch.nn.Module, file: Path) -> Path:
    save: Any = torch.jit.script(net).save  # untyped
    save(str(file))
    return file


@pytest.fixture
def scripted(tmp_path: Path) -> Path:
    return script(Net(), tmp_path / "net.pt")


def add(name: str, file: Path, *, sample_rate: int = 8000) -> None:
    add_encoder(name, file, sample_rate=sample_rate, window_s=0.5)


def test_an_added_encoder_gives_the_values_of_its_network(folder: Path, scripted: Path) -> None:
    info = add_encoder(
        "mine", scripted, sample_rate=8000, window_s=0.5, licence="CC0", title="My net"
    )
    assert info == encoder_info("mine")
    assert info.layers == {"output": 2}
    assert (info.title, info.weights_licence, info.sample_rate) == ("My net", "CC0", 8000)
    assert "mine" in encoder_names()
    run = load_encoder("mine", require_fetched("mine"), layer="output", device="cpu")
    windows = np.random.default_rng(0).standard_normal((3, 4000)).astype(np.float32)
    frames = windows.reshape(3, 40, 100)
    wanted = np.stack([frames.mean(2), frames.max(2)], 2)
    np.testing.assert_allclose(run(windows), wanted, atol=1e-6)


def test_an_exported_program_is_added(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(Net(), (torch.zeros(1, 4000),)), file)
    add("mine", file)
    run = check_encoder("mine").runs["output"]
    assert (run.n_frames, run.n_bins) == (40, 2)


def test_the_users_file_is_copied(folder: Path, scripted: Path) -> None:
    add("mine", scripted)
    scripted.unlink()
    assert check_encoder("mine").problem == ""


def test_a_changed_file_is_found_by_the_check(folder: Path, scripted: Path) -> None:
    add("mine", scripted)
    require_fetched("mine").write_bytes(b"changed")
    assert "is wanted" in check_encoder("mine").problem


@pytest.mark.parametrize("name", ["", "Mine", "my-net", "9lives", "../mine", "a" * 64])
def test_names_that_are_not_allowed(folder: Path, scripted: Path, name: str) -> None:
    with pytest.raises(UserError, match="lower-case letters, digits and _"):
        add(name, scripted)
    assert not folder.exists()


def test_a_shipped_name_is_refused(ship: Ship, folder: Path, scripted: Path) -> None:
    ship()
    with pytest.raises(UserError, match="'toy' is an encoder that Chorale ships"):
        add("toy", scripted)


def test_a_used_name_is_refused(folder: Path, scripted: Path) -> None:
    add("mine", scripted)
    with pytest.raises(UserError, match="there is an encoder 'mine' already"):
        add("mine", scripted)


def test_a_missing_file_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no file"):
        add("mine", tmp_path / "nothing.pt")


def test_another_kind_of_file_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "net.pickle").write_bytes(b"x")
    with pytest.raises(UserError) as got:
        add("mine", tmp_path / "net.pickle")
    assert all(ending in str(got.value) for ending in LOADERS)


@pytest.mark.parametrize(
    ("net", "why"), [(Endless(), "not finite"), (Flat(), r"it returned \(4000,\)")]
)
def test_a_network_that_fails_on_noise_leaves_nothing(
    folder: Path, tmp_path: Path, net: torch.nn.Module, why: str
) -> None:
    with pytest.raises(UserError, match=why) as got:
        add("mine", script(net, tmp_path / "net.pt"))
    assert "\n" not in str(got.value)
    assert [path.name for path in folder.iterdir()] == [".mine.lock"]


def test_an_impossible_rate_is_one_line(folder: Path, scripted: Path) -> None:
    with pytest.raises(UserError, match="sample_rate") as got:
        add("mine", scripted, sample_rate=5)
    assert "\n" not in str(got.value)
