import subprocess
import sys
from pathlib import Path

import pytest

from chorale.cluster.imports import explain_import_error
from chorale.cluster.versions import COMPATIBLE_TORCH, extras, install_extra_command, requirements

ROOT = Path(__file__).parents[2]


def _imported(name: str) -> str | None:
    try:
        __import__(name)
    except Exception as error:
        return explain_import_error(error)
    raise AssertionError(f"{name} can be imported")


def _library(folder: Path, name: str, code: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(code)


def test_a_library_compiled_for_another_torch_is_reported_with_compatible_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "torchaudio", raising=False)
    _library(tmp_path, "torchaudio", "def load():\n    raise OSError('undefined symbol')\nload()")
    line = _imported("torchaudio") or ""
    assert line.startswith("torchaudio cannot be imported (undefined symbol); type: ")
    assert f"{sys.executable} -m pip install" in line
    assert "torch" in line.partition("pip install")[2]


def test_if_a_library_imports_a_broken_one_the_broken_one_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    _library(tmp_path, "outer_library", "import inner_library")
    _library(tmp_path, "inner_library", "raise RuntimeError('built for CUDA 13.0\\nnot 13.2')")
    assert _imported("outer_library") == (
        "inner_library cannot be imported (built for CUDA 13.0); type: "
        f"{sys.executable} -m pip install --force-reinstall --no-deps inner_library"
    )


def test_the_command_for_a_missing_library_has_its_required_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    line = _imported("sklearn") or ""
    wanted = next(one for one in requirements() if one.startswith("scikit-learn"))
    assert line.endswith(f"-m pip install '{wanted}'")


def test_an_error_that_no_import_raised_is_not_explained() -> None:
    with pytest.raises(ValueError, match="no import") as raised:
        raise ValueError("no import")
    assert explain_import_error(raised.value) is None


def test_the_command_line_prints_an_import_error_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "yaml.py").write_text("raise ImportError('damaged')")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
        "from chorale.search.cli import main; sys.exit(main(['sweep', 'demo']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("chorale sweep: yaml cannot be imported (damaged); type: ")


def test_the_command_for_an_extra_names_its_packages_and_this_python() -> None:
    for extra in extras():
        command = install_extra_command(extra)
        assert command.startswith(f"{sys.executable} -m pip install ")
        assert "chorale" not in command.removeprefix(sys.executable)


@pytest.mark.parametrize(
    ("lock", "compatible"),
    [
        ("constraints.txt", COMPATIBLE_TORCH[0]),
        ("constraints-test.txt", COMPATIBLE_TORCH[0]),
        ("constraints-cpu.txt", {"torch": COMPATIBLE_TORCH[1]["torch"]}),
        ("constraints-torch2.11.txt", COMPATIBLE_TORCH[2]),
    ],
)
def test_compatible_torch_versions_are_those_of_the_lock_files(
    lock: str, compatible: dict[str, str]
) -> None:
    lines = [
        line.split(" ")[0].partition("+")[0] for line in (ROOT / lock).read_text().splitlines()
    ]
    locked = dict(line.split("==") for line in lines if line.startswith("torch"))
    assert {name: locked.get(name) for name in COMPATIBLE_TORCH[0]} == {
        name: compatible.get(name) for name in COMPATIBLE_TORCH[0]
    }
