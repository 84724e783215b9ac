import fcntl
import importlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import pytest

from chorale.datasets.dsp import librosa_parts


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the lock file; afterwards `librosa.pretended` can be imported again."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    sys.modules.pop("librosa.pretended", None)


def _is_locked() -> bool:
    with librosa_parts.lock_path().open("r") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_a_module_is_imported_by_one_process_at_a_time_and_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked: list[bool] = []

    def imported(name: str) -> ModuleType:
        locked.append(_is_locked())
        sys.modules[name] = made = ModuleType(name)
        return made

    monkeypatch.setattr(importlib, "import_module", imported)
    first = librosa_parts.librosa_module("pretended")
    assert librosa_parts.librosa_module("pretended") is first
    assert locked == [True]
    assert not _is_locked()
    assert librosa_parts.lock_path().parent == folder


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("decorator", ["guvectorize", "vectorize"])
def test_a_ufunc_is_compiled_by_one_process_at_a_time_and_once_when_it_is_called(
    decorator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[tuple[Any, bool]] = []

    def compiling(*args: Any, **options: Any) -> Any:
        def compiled_now(loop: Any) -> Any:
            compiled.append(((args, options), _is_locked()))
            return loop

        return compiled_now

    def imported(name: str) -> ModuleType:
        made = ModuleType(name)
        with_options = getattr(numba, decorator)(["float64(float64)"], cache=True)
        vars(made)["plus"] = with_options(lambda x, *, more=1: x + more)
        return made

    monkeypatch.setattr(numba, decorator, compiling)
    monkeypatch.setattr(importlib, "import_module", imported)
    plus = librosa_parts.librosa_module("pretended").plus
    assert compiled == []
    assert getattr(numba, decorator) is compiling
    assert (plus(2), plus(2, more=3)) == (3, 5)
    assert compiled == [(((["float64(float64)"],), {"cache": True}), True)]
    assert not _is_locked()


@pytest.mark.usefixtures("folder")
def test_a_failed_import_raises_and_releases_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(name: str) -> ModuleType:
        raise OSError(f"{name}: undefined symbol")

    monkeypatch.setattr(importlib, "import_module", damaged)
    before = numba.guvectorize, numba.vectorize
    with pytest.raises(OSError, match="undefined symbol"):
        librosa_parts.librosa_module("pretended")
    assert not _is_locked()
    assert (numba.guvectorize, numba.vectorize) == before


def test_a_module_is_imported_without_a_writable_lock_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
    assert librosa_parts.librosa_module("filters").__name__ == "librosa.filters"
    monkeypatch.setattr(importlib, "import_module", ModuleType)
    assert librosa_parts.librosa_module("pretended").__name__ == "librosa.pretended"
