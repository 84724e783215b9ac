"""Plug-ins from a folder, a file or an installed package, here and in child processes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from chorale.datasets import catalog, encoders, features, plugin_folders, plugins
from chorale.datasets.errors import UserError
from chorale.datasets.plugin_folders import VARIABLE, add_plugins
from chorale.lightning_models import architectures
from chorale.search import ensembles

PACKAGES = {
    "architectures": architectures,
    "datasets": catalog,
    "encoders": encoders,
    "ensembles": ensembles,
    "features": features,
}
CODE = {
    "architectures": "SPACE = {}\ndef build(config, input_shape, n_classes): ...\n",
    "datasets": "INFO = 0\ndef tracks(config): ...\n",
    "ensembles": "def fit(predictions, labels, groups, seed): ...\ndef predict(model, p): ...\n",
    "features": "LAYOUT: str = 'table'\ndef extract(waveform, config): ...\n",
}


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for package in PACKAGES.values():
        monkeypatch.setattr(package, "__path__", list(package.__path__))
    yield
    for package in PACKAGES.values():
        sys.modules.pop(f"{package.__name__}.my_own", None)


def _write(folder: Path, kind: str, name: str = "my_own", code: str = "VALUE = 7\n") -> Path:
    (folder / kind).mkdir(parents=True, exist_ok=True)
    file = folder / kind / f"{name}.py"
    file.write_text(code)
    return file


@pytest.mark.parametrize("kind", PACKAGES)
def test_a_folder_extends_the_package_of_its_kind_only(tmp_path: Path, kind: str) -> None:
    _write(tmp_path / "mine", kind)
    add_plugins(str(tmp_path / "mine"))
    found = {one for one, package in PACKAGES.items() if "my_own" in plugins.plugin_names(package)}
    assert found == {kind}
    assert plugins.load_plugin(PACKAGES[kind], "my_own", kind=kind).VALUE == 7


def test_every_extended_package_exists_and_has_a_subfolder() -> None:
    assert set(plugin_folders.FOLDERS) == {package.__name__ for package in PACKAGES.values()}
    assert sorted(plugin_folders.FOLDERS.values()) == sorted(PACKAGES)


@pytest.mark.parametrize("kind", CODE)
def test_a_file_is_recognised_by_what_it_defines(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "my_own.py"
    file.write_text("raise RuntimeError('run')\n" + CODE[kind])
    add_plugins(str(file))  # it is not run
    assert "my_own" in plugins.plugin_names(PACKAGES[kind])
    file.write_text("VALUE = 8\n" + CODE[kind])  # it is a link, not a copy
    assert plugins.load_plugin(PACKAGES[kind], "my_own", kind=kind).VALUE == 8
    before = os.environ[VARIABLE]
    add_plugins(str(file))
    assert os.environ[VARIABLE] == before


def test_each_plug_in_of_chorale_is_recognised_as_of_its_kind() -> None:
    for kind in CODE:
        for folder in PACKAGES[kind].__path__:
            for file in Path(folder).glob("[a-z]*.py"):
                assert plugin_folders._kind_of(file) == kind, file


def test_child_processes_find_them_too(tmp_path: Path) -> None:
    _write(tmp_path / "mine", "ensembles")
    add_plugins(str(tmp_path / "mine"))
    code = (
        "from chorale.datasets import plugins; from chorale.search import ensembles; "
        "print(plugins.load_plugin(ensembles, 'my_own', kind='ensemble').VALUE)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert found.stdout == "7\n", found.stderr


def test_a_package_is_a_folder_and_is_found_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path / "site" / "my_package", "ensembles", code="VALUE = 9\n")
    (tmp_path / "site" / "my_package" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    point = metadata.EntryPoint("mine", "my_package", plugin_folders.ENTRY_POINTS)
    plugin_folders._installed_folders.cache_clear()
    monkeypatch.setattr(metadata, "entry_points", lambda group: [point])
    try:
        assert "my_own" not in plugins.plugin_names(ensembles)  # it changes no default
        assert not plugins.has_plugin(ensembles, "another")
        assert plugins.load_plugin(ensembles, "my_own", kind="ensemble").VALUE == 9
        assert os.environ[VARIABLE] == str(tmp_path / "site" / "my_package")
    finally:
        plugin_folders._installed_folders.cache_clear()
    monkeypatch.setenv(VARIABLE, "")
    add_plugins("my_package")
    assert os.environ[VARIABLE] == str(tmp_path / "site" / "my_package")


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, "ensembles", "greedy")
    add_plugins(str(tmp_path))
    with pytest.raises(UserError, match=r"greedy.py' has the name of a plug-in in '.*ensembles'"):
        plugins.plugin_names(ensembles)


def test_what_holds_no_plug_ins_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "net.py").write_text("def build(): ...\n")
    (tmp_path / "broken.py").write_text("def build(:\n")
    for where, text in (
        (tmp_path / "empty", "has none of the folders architectures, datasets, encoders"),
        (tmp_path / "absent", "there is no such folder, file or package"),
        ("no_such.package", "there is no such folder, file or package"),
        (tmp_path / "net.py", "architectures: SPACE, build; datasets: INFO, tracks"),
        (tmp_path / "broken.py", "cannot be read as Python"),
    ):
        with pytest.raises(UserError, match=text) as raised:
            add_plugins(str(where))
        assert "\n" not in str(raised.value)
    assert os.environ[VARIABLE] == ""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "absent"))
    with pytest.raises(UserError, match=r"CHORALE_PLUGINS names '.*absent', which is no folder"):
        plugins.plugin_names(ensembles)


def test_a_file_that_was_removed_is_named(tmp_path: Path) -> None:
    file = tmp_path / "my_own.py"
    file.write_text(CODE["ensembles"])
    add_plugins(str(file))
    file.unlink()
    with pytest.raises(UserError, match=r"the plug-in '.*my_own.py' is gone; restore it, or take"):
        plugins.plugin_names(ensembles)
