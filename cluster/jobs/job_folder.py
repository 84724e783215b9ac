"""What a job brings along: a clean folder of packages and files, made anew from a checkout or from
an installation, so that nothing else that lies there is ever sent.
"""

import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from chorale.cluster.base import ClusterError
from chorale.cluster.versions import CHECKOUT, NAME, requirements, version_of

MIB = 2**20
MOST_BYTES = 100 * MIB
"""Ray takes no larger package."""
LARGE_BYTES = 5 * MIB
"""No file of code is so large."""


@dataclass(frozen=True)
class Parcel:
    """A folder to be sent, and what was not put into it."""

    folder: Path
    n_files: int
    n_bytes: int
    left_out: tuple[str, ...]
    """large files, by their path"""


def pack(packages: Sequence[str], files: Mapping[str, Path], into: Path) -> Parcel:
    """Copies packages, without what git ignores and without large files, and files beside them.

    Args:
        packages: what can be imported here, by full name: "chorale.search".
        files: name -> file that is put beside the packages under it, whatever its size.
        into: an empty folder.

    Raises:
        ClusterError: it is more than Ray takes.
    """
    left_out: list[str] = []
    for package in packages:
        root = _folder(package)
        for file in _files(root):
            if file.stat().st_size > LARGE_BYTES:
                left_out.append(str(file))
                continue
            copy = into.joinpath(*package.split("."), file.relative_to(root))
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    for name, file in files.items():
        shutil.copyfile(file, into / name)
    _describe(into)
    sent = [file for file in into.rglob("*") if file.is_file()]
    n_bytes = sum(file.stat().st_size for file in sent)
    if n_bytes > MOST_BYTES:
        most = max(sent, key=lambda file: file.stat().st_size)
        raise ClusterError(
            f"a job may bring {MOST_BYTES // MIB} MiB along, but this one has "
            f"{n_bytes / MIB:.0f} MiB; the largest file is {most.relative_to(into)}: take it away"
        )
    return Parcel(into, len(sent), n_bytes, tuple(left_out))


def _folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ClusterError(f"the package '{package}' is not here; install Chorale again")
    return Path(next(iter(spec.submodule_search_locations))).resolve()


def _files(root: Path) -> Iterator[Path]:
    """The files of a package: those that git would keep, or in an installation all but caches."""
    if root.parent == CHECKOUT and (CHECKOUT / ".git").exists() and shutil.which("git"):
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


def _describe(into: Path) -> None:
    """Says who this is, as an installation would: Chorale need not be installed over there."""
    version = version_of(NAME) or "0"
    lines = ["Metadata-Version: 2.1", f"Name: {NAME}", f"Version: {version}"]
    lines += [f"Requires-Dist: {one}" for one in requirements()]
    folder = into / f"{NAME.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("\n".join(lines) + "\n", encoding="utf-8")
