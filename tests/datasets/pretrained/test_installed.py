import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from chorale.datasets import encoders, plugins
from chorale.datasets.errors import UserError
from chorale.datasets.pretrained import installed
from chorale.datasets.pretrained.added import RECORD_NAME

Ship = Callable[..., None]

RECORD = {
    "title": "Mine",
    "sample_rate": 8000,
    "window_s": None,
    "layers": {"output": 3},
    "file_name": "encoder.pt2",
    "sha256": "0" * 64,
    "licence": "",
}


def add_record(folder: Path, name: str, record: object = RECORD) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / RECORD_NAME).write_text(json.dumps(record))


def test_the_folder_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHORALE_ENCODERS", "/somewhere")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert installed.encoders_folder() == Path("/somewhere")
    monkeypatch.delenv("CHORALE_ENCODERS")
    assert installed.encoders_folder() == Path("/data/chorale/encoders")
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert installed.encoders_folder() == Path("/home/me/.local/share/chorale/encoders")


def test_names_are_of_shipped_and_added_encoders(ship: Ship, folder: Path) -> None:
    ship()
    shipped = plugins.plugin_names(encoders)
    assert "toy" in shipped
    add_record(folder, "mine")
    add_record(folder, "Not A Name")
    (folder / "empty").mkdir()
    assert installed.encoder_names() == tuple(sorted([*shipped, "mine"]))


def test_an_unknown_name_gets_the_nearest(ship: Ship, folder: Path) -> None:
    ship()
    with pytest.raises(UserError, match="unknown encoder 'tois'; did you mean 'toy'"):
        installed.encoder_info("tois")


def test_metadata_import_nothing_heavy(folder: Path) -> None:
    names = plugins.plugin_names(encoders)
    code = (
        "import sys\nfrom chorale.datasets.pretrained.installed import *\n"
        f"[encoder_info(name) for name in {names!r}]\n"
        "print([m for m in ('torch', 'safetensors', 'numba', 'onnxruntime') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", plugins.plugin_names(encoders))
def test_shipped_encoders_keep_the_contract(name: str) -> None:
    info = installed.encoder_info(name)
    assert info.name == name
    assert info.layers
    assert all(n >= 1 for n in info.layers.values())
    assert info.weights or info.web_file or info.how_to_get
    assert Path(info.file_name).name == info.file_name
    assert all(len(f.sha256) == 64 for f in info.weights)
    module = installed.encoder_module(name)
    assert callable(module.load)
    members = {PurePosixPath(one.member).name for one in info.weights}
    assert len(members) < 2 or info.file_name in members or callable(module.convert)


def test_what_is_not_fetched_is_an_error(ship: Ship, folder: Path) -> None:
    ship(must_accept=True)
    with pytest.raises(UserError) as got:
        installed.require_fetched("toy")
    assert str(got.value) == (
        "encoder 'toy' has not been fetched; type: chorale encoder fetch toy --accept"
    )


def test_a_shipped_encoder_is_loaded(ship: Ship, folder: Path) -> None:
    ship()
    path = installed.weights_path("toy")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    run = installed.load_encoder("toy", path, layer="narrow", device="cpu")
    windows = np.array([[1, 2], [3, 4]], np.float32)
    assert run(windows).tolist() == [[[3, 3]], [[7, 7]]]


def test_an_unknown_layer_gets_the_nearest(ship: Ship, folder: Path) -> None:
    ship()
    with pytest.raises(
        UserError, match="unknown layer of encoder 'toy' 'wid'; did you mean 'wide'"
    ):
        installed.load_encoder("toy", folder, layer="wid", device="cpu")


@pytest.mark.parametrize(
    "record",
    [
        [],
        RECORD | {"file_name": "../outside.pt2"},
        RECORD | {"layers": {}},
        RECORD | {"layers": {"output": 0}},
        RECORD | {"extra": 1},
        RECORD | {"sample_rate": "fast"},
    ],
    ids=["list", "outside", "no layers", "no values", "unknown key", "no number"],
)
def test_a_damaged_record_is_one_line(folder: Path, record: object) -> None:
    add_record(folder, "mine", record)
    with pytest.raises(UserError, match="type: chorale encoder add mine") as got:
        installed.encoder_info("mine")
    assert "\n" not in str(got.value)
