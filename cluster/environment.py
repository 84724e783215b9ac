"""Environment variables that processes are started with: threads, where code lies, who they run as.

Everything in `cluster` that starts processes sets them through here, without importing Ray.
"""

import getpass
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""What Ray sets for the process that a submitted job runs, and for no other."""

CHECKOUT = "cluster/checkout"
"""Where the package `chorale` lies in a checkout that is not installed."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def threads(n: int) -> dict[str, str]:
    """The variables that hold a process to `n` threads, if set before it imports NumPy or torch."""
    return dict.fromkeys(THREAD_VARIABLES, str(n))


def own_threads() -> int:
    """How many threads this process was told to compute with; 1 where nobody said."""
    said = os.environ.get(THREAD_VARIABLES[0], "")
    return int(said) if said.isdecimal() and int(said) else 1


def checkout_paths() -> list[str]:
    """What processes need on their import path to find `chorale`; empty where it is installed.

    The first is absolute, for processes of this machine; the second is relative to the folder that
    a Ray job brought along, which its workers start in.
    """
    import chorale

    init = getattr(chorale, "__file__", None)
    return [str(Path(init).parents[1]), CHECKOUT] if init else []


def complete() -> None:
    """Sets what libraries ask the system for and a container does not say: a name, a home folder.

    PyTorch names its cache by the user, Ray looks for its token in the home folder; both fail to be
    imported where the user's number is in no table of users, as in OpenShift or `docker run -u`.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):  # the first up to Python 3.12, the second from 3.13 on
        os.environ["USER"] = f"uid-{os.getuid()}"
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = _private_folder()


def _private_folder() -> str:
    """A folder for this user alone, the same one each time where nobody else has taken its name."""
    folder = Path(tempfile.gettempdir()) / f"chorale-home-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        private = stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o700
        if private and found.st_uid == os.getuid():
            return str(folder)
    except OSError:  # a link or a file of somebody else's
        pass
    return tempfile.mkdtemp(prefix="chorale-home-")


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Sets variables for the time of the block; processes started in it inherit them."""
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


def in_job() -> bool:
    """Whether this process is what a submitted Ray job runs: it belongs to that cluster."""
    return bool(os.environ.get(JOB_CONFIG))
