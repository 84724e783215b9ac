"""Writes bundles atomically: complete under the final name, or not at all.

`search.champion.pack.pack` fills a bundle from a study, `chorale export` copies a champion's.
"""

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from chorale.datasets.atomic import atomic_write, rename_synced, write_json
from chorale.datasets.content import file_sha256
from chorale.search.bundle.bundle import MANIFEST_VERSION, Bundle, bundle_error
from chorale.search.paths import BundlePaths


def write_bundle(destination: Path, fill: Callable[[BundlePaths], None]) -> Bundle:
    """Calls `fill` with a temporary folder, renames that to `destination` and verifies it.

    An existing bundle is replaced.

    Raises:
        UserError: `destination` holds something else, or what `fill` wrote is not a valid bundle.
    """
    final = Path(destination)
    _refuse_other(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}."))
    try:
        fill(BundlePaths(scratch))
        scratch.chmod(0o755)
        if final.exists():
            aside = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}."))
            final.rename(aside / final.name)
            rename_synced(scratch, final)
            shutil.rmtree(aside, ignore_errors=True)
        else:
            rename_synced(scratch, final)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Bundle.open(final)


def write_manifest(paths: BundlePaths, content: Mapping[str, Any]) -> None:
    """Writes the manifest: `content`, the version, and the SHA-256 of every other file.

    Args:
        paths: of the bundle; all other files must have been written.
        content: the fields of `BundleManifest` except `version` and `files`, JSON-ready.
    """
    files = {
        path.relative_to(paths.root).as_posix(): file_sha256(path)
        for path in sorted(paths.root.rglob("*"))
        if path.is_file()
    }
    write_json(paths.manifest, {"version": MANIFEST_VERSION, **content, "files": files})


def copy_bundle(bundle: Bundle, destination: Path) -> Bundle:
    """Copies a bundle; the copy has the same content and so the same digest."""

    def fill(paths: BundlePaths) -> None:
        copy_file(bundle.paths.manifest, paths.manifest)
        for name in bundle.manifest.files:
            copy_file(bundle.paths.root / name, paths.root / name)

    return write_bundle(destination, fill)


def copy_file(source: Path, final: Path) -> None:
    """Copies one file atomically, synced before it gets its final name."""
    with atomic_write(final) as temporary:
        shutil.copyfile(source, temporary)


def _refuse_other(final: Path) -> None:
    if not final.exists() or BundlePaths(final).manifest.is_file():
        return
    if final.is_dir() and not any(final.iterdir()):
        final.rmdir()
        return
    raise bundle_error(
        final, "something else is there already; give another place with --to FOLDER"
    )
