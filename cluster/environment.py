"""Environment variables of started processes: thread counts, import path, user and home folder.

All code of `cluster` that starts processes sets them through this module, which never imports Ray.
"""

import getpass
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

RAY_JOB_CONFIG_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Ray sets it for the process of a submitted job, and for no other."""

CHECKOUT_PACKAGE_DIR = "cluster/checkout"
"""The folder with the package `chorale` in a checkout that is not installed."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def thread_variables(n: int) -> dict[str, str]:
    """Variables that limit a process to `n` threads, if set before it imports NumPy or torch."""
    return dict.fromkeys(THREAD_VARIABLES, str(n))


def configured_threads() -> int:
    """The thread limit set in this process's environment; 1 if none is set."""
    value = os.environ.get(THREAD_VARIABLES[0], "")
    return int(value) if value.isdecimal() and int(value) else 1


def checkout_paths() -> list[str]:
    """Folders for the import path of processes that need `chorale`; empty if it is installed.

    The first is absolute, for processes of this machine; the second is relative to a Ray job's
    working directory, in which its workers start.
    """
    import chorale

    init = getattr(chorale, "__file__", None)
    return [str(Path(init).parents[1]), CHECKOUT_PACKAGE_DIR] if init else []


def set_missing_user_and_home() -> None:
    """Sets USER and HOME if the system has neither for this user id, as in some containers.

    PyTorch names its cache by the user, Ray looks for its token in the home folder; the import of
    both fails if the user id has no entry in /etc/passwd, as in OpenShift or `docker run -u`.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):  # KeyError up to Python 3.12, OSError from 3.13
        os.environ["USER"] = f"uid-{os.getuid()}"
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = _private_folder()


def _private_folder() -> str:
    """A folder that only this user can access; always the same unless another user owns it."""
    folder = Path(tempfile.gettempdir()) / f"chorale-home-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        private = stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o700
        if private and found.st_uid == os.getuid():
            return str(folder)
    except OSError:  # another user's link or file
        pass
    return tempfile.mkdtemp(prefix="chorale-home-")


@contextmanager
def set_variables(variables: Mapping[str, str]) -> Iterator[None]:
    """Sets variables while the block runs; processes started in it inherit them."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def in_ray_job() -> bool:
    """Whether this process is the driver of a submitted Ray job."""
    return bool(os.environ.get(RAY_JOB_CONFIG_VARIABLE))
