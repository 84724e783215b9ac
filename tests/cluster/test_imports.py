import subprocess
import sys
from pathlib import Path

import pytest

from chorale.cluster.imports import cannot_import
from chorale.cluster.versions import FITTING, extras, install_extra, requirements

ROOT = Path(__file__).parents[2]


def _imported(name: str) -> str | None:
    try:
        __import__(name)
    except Exception as error:
        return cannot_import(error)
    raise AssertionError(f"{name} can be imported")


def _library(folder: Path, name: str, code: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(code)


def test_a_library_compiled_for_another_one_is_named_with_versions_that_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "torchaudio", raising=False)
    _library(tmp_path, "torchaudio", "def load():\n    raise OSError('undefined symbol')\nload()")
    line = _imported("torchaudio") or ""
    assert line.startswith("torchaudio cannot be imported (undefined symbol); type: ")
    assert f"{sys.executable} -m pip install" in line
    assert "torch" in line.partition("pip install")[2]


def test_of_a_library_that_imports_another_one_the_other_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    _library(tmp_path, "outer_library", "import inner_library")
    _library(tmp_path, "inner_library", "raise RuntimeError('built for CUDA 13.0\\nnot 13.2')")
    assert _imported("outer_library") == (
        "inner_library cannot be imported (built for CUDA 13.0); type: "
        f"{sys.executable} -m pip install --force-reinstall --no-deps inner_library"
    )


def test_a_missing_library_is_installed_as_it_is_required(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    line = _imported("sklearn") or ""
    wanted = next(one for one in requirements() if one.startswith("scikit-learn"))
    assert line.endswith(f"-m pip install '{wanted}'")


def test_an_error_of_another_kind_is_none_of_its_business() -> None:
    with pytest.raises(ValueError, match="no import") as raised:
        raise ValueError("no import")
    assert cannot_import(raised.value) is None


def test_the_command_line_says_it_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "yaml.py").write_text("raise ImportError('damaged')")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
        "from chorale.search.cli import main; sys.exit(main(['sweep', 'demo']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("chorale sweep: yaml cannot be imported (damaged); type: ")


def test_an_extra_is_installed_by_its_packages_and_by_this_python() -> None:
    for extra in extras():
        command = install_extra(extra)
        assert command.startswith(f"{sys.executable} -m pip install ")
        assert "chorale" not in command.removeprefix(sys.executable)


@pytest.mark.parametrize(
    ("lock", "fitting"),
    [
        ("constraints.txt", FITTING[0]),
        ("constraints-test.txt", FITTING[0]),
        ("constraints-cpu.txt", {"torch": FITTING[1]["torch"]}),
        ("constraints-torch2.11.txt", FITTING[2]),
    ],
)
def test_versions_that_are_said_to_fit_are_those_of_the_locks(
    lock: str, fitting: dict[str, str]
) -> None:
    lines = [
        line.split(" ")[0].partition("+")[0] for line in (ROOT / lock).read_text().splitlines()
    ]
    locked = dict(line.split("==") for line in lines if line.startswith("torch"))
    assert {name: locked.get(name) for name in FITTING[0]} == {
        name: fitting.get(name) for name in FITTING[0]
    }
