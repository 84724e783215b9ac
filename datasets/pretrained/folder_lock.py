"""The lock of one encoder's folder: one process fetches or adds it at a time."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from chorale.datasets.errors import UserError
from chorale.datasets.lock_file import exclusive_lock
from chorale.datasets.pretrained.installed import FOLDER_VARIABLE, encoders_folder


@contextmanager
def encoder_lock(name: str) -> Iterator[Path]:
    """Holds the lock of an encoder, and waits for another process that holds it.

    Yields:
        The encoders' folder, which is made where it is missing. In it, a folder whose name begins
        with `temporary_prefix(name)` is this process's own; those that a killed process left are
        removed.

    Raises:
        UserError: the folder cannot be written.
    """
    folder = encoders_folder()
    with ExitStack() as stack:
        try:
            stack.enter_context(exclusive_lock(folder / f".{name}.lock", wait=True))
        except OSError as error:
            raise UserError(
                f"the encoders' folder '{folder}' cannot be written ({error.strerror}); name "
                f"another one: export {FOLDER_VARIABLE}=FOLDER"
            ) from None
        for left in folder.glob(f"{temporary_prefix(name)}*"):
            shutil.rmtree(left, ignore_errors=True)
        yield folder


def temporary_prefix(name: str) -> str:
    """How the names of temporary folders of an encoder begin."""
    return f".{name}.part."
