"""Working directory of a Ray job: a fresh copy of packages and files to upload.

It is made from a checkout or an installation, so that no other file that lies there is uploaded.
"""

import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from chorale.cluster.base import ClusterError
from chorale.cluster.versions import DISTRIBUTION, REPOSITORY_ROOT, requirements, version_of

MIB = 2**20
MAX_FOLDER_BYTES = 100 * MIB
"""Ray accepts no larger working directory."""
MAX_FILE_BYTES = 5 * MIB
"""Larger files of a package are skipped, as they are no code."""


@dataclass(frozen=True)
class JobFolder:
    """A folder to upload, and what was skipped."""

    folder: Path
    n_files: int
    n_bytes: int
    skipped_files: tuple[str, ...]
    """paths of files that were too large"""


def write_job_folder(packages: Sequence[str], files: Mapping[str, Path], into: Path) -> JobFolder:
    """Copies packages and files into a folder, without large files and those that git ignores.

    Args:
        packages: full names of importable packages: "chorale.search".
        files: name -> file that is copied next to the packages under that name, whatever its size.
        into: an empty folder.

    Raises:
        ClusterError: it is larger than Ray accepts.
    """
    skipped_files: list[str] = []
    for package in packages:
        root = _folder(package)
        for file in _files(root):
            if file.stat().st_size > MAX_FILE_BYTES:
                skipped_files.append(str(file))
                continue
            copy = into.joinpath(*package.split("."), file.relative_to(root))
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    for name, file in files.items():
        shutil.copyfile(file, into / name)
    _write_metadata(into)
    copied = [file for file in into.rglob("*") if file.is_file()]
    n_bytes = sum(file.stat().st_size for file in copied)
    if n_bytes > MAX_FOLDER_BYTES:
        largest = max(copied, key=lambda file: file.stat().st_size)
        raise ClusterError(
            f"a job's files may have {MAX_FOLDER_BYTES // MIB} MiB, but these have "
            f"{n_bytes / MIB:.0f} MiB; the largest file is {largest.relative_to(into)}: remove it"
        )
    return JobFolder(into, len(copied), n_bytes, tuple(skipped_files))


def _folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ClusterError(f"the package '{package}' is not installed; install Chorale again")
    return Path(next(iter(spec.submodule_search_locations))).resolve()


def _files(root: Path) -> Iterator[Path]:
    """The files of a package: those not ignored by git; in an installation, all but caches."""
    if (
        root.parent == REPOSITORY_ROOT
        and (REPOSITORY_ROOT / ".git").exists()
        and shutil.which("git")
    ):
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "."],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
        if listed.returncode == 0 and listed.stdout:
            names = listed.stdout.split("\0")
            yield from (root / n for n in sorted(names) if n and (root / n).is_file())
            return
    for file in sorted(root.rglob("*")):
        hidden = any(part.startswith((".", "__pycache__")) for part in file.relative_to(root).parts)
        if file.is_file() and not hidden:
            yield file


def _write_metadata(into: Path) -> None:
    """Writes the metadata of an installation, so that workers know Chorale's version."""
    version = version_of(DISTRIBUTION) or "0"
    lines = ["Metadata-Version: 2.1", f"Name: {DISTRIBUTION}", f"Version: {version}"]
    lines += [f"Requires-Dist: {one}" for one in requirements()]
    folder = into / f"{DISTRIBUTION.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("\n".join(lines) + "\n", encoding="utf-8")
