"""Atomic file writes: temporary file, fsync, rename (invariant I3).

Everything that Chorale writes goes through here. The temporary file is in the target's folder; a
reader, or a process that starts after a crash, sees the old file or the new one, never a part.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_write(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Context manager with a temporary path to write to; on success it is renamed to `path`.

    If the block raises, the temporary file is removed and whatever was at `path` stays.

    Args:
        path: the file's final name.
        durable: whether the folder is synced too, so that the rename survives a power failure.
            Without it (one fsync, not two) the file may then be missing or still the old one, but
            it is never truncated.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _named(path):
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix
        )
    os.close(handle)
    temporary = Path(name)
    try:
        with _named(path):
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        if durable:
            _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Writes `text` as UTF-8, atomically; for `durable` see `atomic_write`."""
    with atomic_write(path, durable=durable) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, atomically; NaN raises, as JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def publish_folder(folder: Path, final: Path) -> None:
    """Syncs the files of a finished folder, then renames it to `final`.

    Raises:
        OSError: `final` exists already, or is on another file system.
    """
    for path in folder.iterdir():
        with path.open("rb") as written:
            os.fsync(written.fileno())
    _sync_folder(folder)
    rename_synced(folder, final)


def rename_synced(path: Path, final: Path) -> None:
    """Renames a file or folder whose content is already synced, and syncs its parent folder.

    Raises:
        OSError: `final` is a folder that is not empty, or is on another file system.
    """
    path.rename(final)
    _sync_folder(final.parent)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Adds the file's name to an OSError that lacks it or names only the temporary file."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and (not error.filename or _is_temporary(error, path)):
            error.filename = str(path)
        raise


def _is_temporary(error: OSError, path: Path) -> bool:
    return Path(os.fsdecode(error.filename)).name.startswith(f".{path.name}.")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Makes a rename survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
