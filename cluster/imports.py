"""Import errors explained in one line: which library cannot be imported, why, and what to type.

The command line uses it for errors that it has no other message for, the doctor for a machine's
packages. Libraries fail to import in many ways: they are missing, or were compiled for another
version of PyTorch, which may raise OSError, RuntimeError or AttributeError.
"""

import sys
from collections.abc import Mapping
from types import TracebackType

from packaging.requirements import Requirement

from chorale.cluster.versions import (
    COMPATIBLE_TORCH,
    extras,
    pip_install_command,
    requirements,
    version_of,
)

IMPORT_NAMES = {
    "scikit-learn": "sklearn",
    "imbalanced-learn": "imblearn",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "faiss-cpu": "faiss",
}
"""Distribution -> module, where the names differ."""

OWN_PACKAGE = "chorale"
MAX_MESSAGE_LENGTH = 160
"""A library's own message is cut to this length."""


def import_name(distribution: str) -> str:
    """The module of a distribution: "sklearn" for "scikit-learn"."""
    return IMPORT_NAMES.get(distribution, distribution.replace("-", "_"))


def explain_import_error(error: BaseException) -> str | None:
    """Which library's import raised `error`, why, and what to type; None if it was no import."""
    module = _failed(error)
    if module is None:
        return None
    why = first_line(str(error)) or type(error).__name__
    command = repair_command(module, is_missing=isinstance(error, ModuleNotFoundError))
    return f"{module} cannot be imported ({why}); type: {command}"


def first_line(text: str) -> str:
    """The first non-empty line of a message, cut to a readable length."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= MAX_MESSAGE_LENGTH else f"{line[:MAX_MESSAGE_LENGTH]}..."


def repair_command(
    module: str,
    *,
    is_missing: bool,
    versions: Mapping[str, str | None] | None = None,
    executable: str = sys.executable,
) -> str:
    """The command that installs a module's distribution in a version known to be compatible.

    Args:
        module: a top-level module, as it is imported.
        is_missing: it is not installed at all, rather than damaged.
        versions: of torch, torchaudio and torchvision; by default those of this environment.
        executable: the Python whose environment it is.
    """
    if module in COMPATIBLE_TORCH[0]:
        return pip_install_command(*compatible_torch_pins(versions), executable=executable)
    lines = [*requirements(), *(line for extra in extras() for line in requirements(extra))]
    wanted = next((line for line in lines if import_name(Requirement(line).name) == module), module)
    how = [] if is_missing else ["--force-reinstall", "--no-deps"]
    return pip_install_command(*how, wanted, executable=executable)


def compatible_torch_pins(versions: Mapping[str, str | None] | None = None) -> list[str]:
    """Pins for torch and the libraries compiled for it, as arguments for pip.

    The installed torch is kept if compatible versions of the others are known.
    """
    installed = versions or {name: version_of(name) for name in COMPATIBLE_TORCH[0]}
    kept = [one for one in COMPATIBLE_TORCH if one["torch"] == _public(installed.get("torch"))]
    wanted = {
        name: pin
        for name, pin in (kept or COMPATIBLE_TORCH)[0].items()
        if name == "torch" or installed.get(name)  # the other two are optional
    }
    other = {name: pin for name, pin in wanted.items() if _public(installed.get(name)) != pin}
    # If the versions are right, an installation is damaged, and pip would not replace it.
    force = [] if other else ["--force-reinstall", "--no-deps"]
    return [*force, *(f"{name}=={pin}" for name, pin in (other or wanted).items())]


def _public(version: str | None) -> str | None:
    """A version without its local part: "2.13.0" of "2.13.0+cpu"."""
    return None if version is None else version.partition("+")[0]


def _failed(error: BaseException) -> str | None:
    """The top-level module whose import raised `error`, if an import did and it is not our own.

    If a library imports another one, it is the other one, since that must be repaired.
    """
    found = ""
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        if frame.f_code.co_name == "<module>":  # the code of a module being imported
            found = _top(str(frame.f_globals.get("__name__", ""))) or found
        trace = trace.tb_next
    if isinstance(error, ImportError):
        found = _top(error.name or "") or found
    return found or None


def _top(module: str) -> str:
    top = module.partition(".")[0]
    return "" if top in (OWN_PACKAGE, "__main__") else top
