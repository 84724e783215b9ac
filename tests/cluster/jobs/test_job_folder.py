import subprocess
import sys
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from chorale.cluster.base import ClusterError
from chorale.cluster.jobs import job_folder
from chorale.cluster.jobs.job_folder import write_job_folder
from chorale.search.commands.submit import SENT_PACKAGES


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package as installed by pip: no git, with caches."""
    root = tmp_path / "site" / "some_package"
    for name in ("__init__.py", "data/table.csv", "__pycache__/x.pyc", ".hidden/y.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("1")
    (root / "large.bin").write_bytes(bytes(2000))
    monkeypatch.syspath_prepend(str(root.parent))
    monkeypatch.setattr(job_folder, "MAX_FILE_BYTES", 1000)
    return root


def test_an_installed_package_is_copied_without_caches_and_large_files(
    installed: Path, tmp_path: Path
) -> None:
    sweep = tmp_path / "any.yaml"
    sweep.write_text("dataset: {name: synthetic}")
    into = tmp_path / "job"
    into.mkdir()
    written = write_job_folder(["some_package"], {"my.yaml": sweep}, into)
    found = {str(path.relative_to(into)) for path in into.rglob("*") if path.is_file()}
    metadata = {name for name in found if name.startswith("chorale_audio-")}
    assert found - metadata == {
        "my.yaml", "some_package/__init__.py", "some_package/data/table.csv"
    }  # fmt: skip
    assert written.skipped_files == (str(installed / "large.bin"),)
    assert written.n_files == len(found)
    assert written.n_bytes == sum((into / name).stat().st_size for name in found)


def test_a_checkout_is_copied_without_ignored_files_and_runs_by_itself(tmp_path: Path) -> None:
    write_job_folder(SENT_PACKAGES, {}, tmp_path)
    assert not list(tmp_path.rglob("__pycache__"))
    assert (tmp_path / "chorale" / "search" / "sweeps" / "demo.yaml").is_file()
    done = subprocess.run(
        [sys.executable, "-I", "-c", "import sys; sys.path.insert(0, '.'); "
         "from chorale.search.cli import main; main(['--version'])"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    [metadata] = tmp_path.glob("chorale_audio-*.dist-info")
    distribution = PathDistribution(metadata)
    assert done.stdout == f"chorale {distribution.version}\n"
    assert any(one.startswith("torch>=") for one in distribution.requires or [])


def test_a_folder_larger_than_ray_accepts_is_refused_with_the_largest_file(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_folder, "MAX_FOLDER_BYTES", 1500)
    monkeypatch.setattr(job_folder, "MAX_FILE_BYTES", 10_000)
    into = tmp_path / "job"
    into.mkdir()
    with pytest.raises(ClusterError, match=r"largest file is some_package/large\.bin"):
        write_job_folder(["some_package"], {}, into)


def test_a_package_that_is_not_installed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="'no_such_package' is not installed"):
        write_job_folder(["no_such_package"], {}, tmp_path)
