"""Files and folders that the user named for output: checked before the work, in one line."""

import errno
import tempfile
from pathlib import Path

from chorale.datasets.disk import UNWRITABLE_ERRNOS
from chorale.datasets.errors import UserError


def require_writable(path: Path, *, option: str, is_folder: bool = False) -> Path:
    """Checks that a file, or a new folder, can be written, and makes the folders above it.

    A full disk is left to `search.cli`, which says what to do about it.

    Args:
        path: as the user named it; "~" is the home folder.
        option: the option that names it.
        is_folder: whether a folder will be there, instead of a file.

    Returns:
        The path to write.

    Raises:
        UserError: a folder is in a file's place, the folder above cannot be made or written, or the
            name is too long.
    """
    path = path.expanduser()
    try:
        if path.parent.is_file():
            raise NotADirectoryError(errno.ENOTDIR, f"'{path.parent}' is no folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir() and not is_folder:
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        prefix = f".{path.name}."
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=prefix, suffix=path.suffix):
            return path
    except OSError as error:
        if error.errno in UNWRITABLE_ERRNOS:
            raise
        what = "FOLDER" if is_folder else "FILE"
        raise UserError(
            f"cannot write '{path}': {error.strerror}; give another place with {option} {what}"
        ) from None
