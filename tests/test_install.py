"""Packaging: packages and data files of the distribution, the wheel, and use from a checkout."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = ("cluster", "datasets", "lightning_models", "search")


def test_every_folder_with_code_is_a_package_of_the_distribution() -> None:
    folders = [path.parent for top in FOLDERS for path in (ROOT / top).rglob("__init__.py")]
    own = [folder for folder in folders if "checkout" not in folder.parts]
    names = sorted("chorale." + ".".join(folder.relative_to(ROOT).parts) for folder in own)
    assert PROJECT["tool"]["setuptools"]["packages"] == names


def test_every_data_file_is_in_the_distribution() -> None:
    data = PROJECT["tool"]["setuptools"]["package-data"]
    for top in FOLDERS:
        shipped = {
            path
            for pattern in data.get(f"chorale.{top}", ())
            for path in (ROOT / top).glob(pattern)
        }
        tracked = subprocess.run(
            ["git", "ls-files", "-z", top], cwd=ROOT, capture_output=True, text=True, check=False
        )
        if tracked.returncode:
            pytest.skip("not a git checkout")
        files = {ROOT / name for name in tracked.stdout.split("\0") if name}
        data_files = {path for path in files if path.suffix != ".py" and path.name != "README.md"}
        assert (
            data_files - shipped
            == {p for p in data_files if p.name.endswith(".dockerignore")} - shipped
        )


def test_a_checkout_runs_without_installation_and_does_not_shadow_other_packages(
    tmp_path: Path,
) -> None:
    """`python -m search` in the checkout, with another package `datasets` installed."""
    site = tmp_path / "site"
    (site / "datasets").mkdir(parents=True)
    (site / "datasets" / "__init__.py").write_text("OWNER = 'another package'")
    (site / "sitecustomize.py").write_text(
        "import sys\nsys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in str(f)]"
    )
    code = (
        "import runpy, sys\n"
        "sys.path.insert(0, '')\n"
        "sys.argv = ['search', '--version']\n"
        "try: runpy.run_module('search', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "import subprocess, datasets, chorale.datasets\n"
        "print(datasets.OWNER, chorale.datasets.__file__)\n"
        "subprocess.run([sys.executable, '-c', 'import chorale.search; print(chorale.__file__)'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-u", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(site)},
    )  # fmt: skip
    version, imported, child = done.stdout.splitlines()
    assert version.startswith("chorale ")
    assert imported == f"another package {ROOT / 'datasets' / '__init__.py'}"
    assert child == str(ROOT / "cluster" / "checkout" / "chorale" / "__init__.py")


@pytest.mark.slow
def test_a_wheel_contains_only_its_namespace(tmp_path: Path) -> None:
    """A file outside, such as `datasets/__init__.py`, would overwrite another package's."""
    source = tmp_path / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "build", "runs", "tests"))
    args = [
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--quiet",
        "-w",
        str(tmp_path),
        str(source),
    ]
    subprocess.run([sys.executable, "-m", "pip", *args], check=True)
    [wheel] = tmp_path.glob("chorale_audio-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"chorale"}
    assert {"chorale/search/sweeps/demo.yaml", "chorale/search/cli.py"} <= set(names)
    assert not [name for name in names if "checkout" in name]
