"""Whole files or none: everything that Chorale writes goes through here (invariant I3).

A file is written under a temporary name in its own folder, synced, and renamed; a reader, or a
process that starts after a crash, sees the old file or the new one, never half of one.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Gives a temporary path to write to; at the end of the block it becomes `path`.

    If the block raises, the temporary file is removed and whatever was at `path` stays.

    Args:
        path: the file's final name.
        durable: whether it is there at the end, even if the power fails then. A file that is not
            may be missing after that, or the old one, but never half: it costs one sync, not two.
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
    """Writes `text` as UTF-8, wholly or not at all; for `durable` see `atomic`."""
    with atomic(path, durable=durable) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, wholly or not at all; NaN is refused, as JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def publish(folder: Path, final: Path) -> None:
    """Gives a finished folder its final name at once, after syncing the files that it holds.

    Raises:
        OSError: `final` exists already, or is on another file system.
    """
    for path in folder.iterdir():
        with path.open("rb") as written:
            os.fsync(written.fileno())
    _sync_folder(folder)
    rename_synced(folder, final)


def rename_synced(path: Path, final: Path) -> None:
    """Gives a file or folder whose content is synced already its final name, for good.

    Raises:
        OSError: `final` is a folder that holds something, or is on another file system.
    """
    path.rename(final)
    _sync_folder(final.parent)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Names the file in an error of the disk, which does not say which one was written."""
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
