"""Says in one line which library cannot be imported, why, and what to type.

The command line asks it of any error that it has no other word for, the doctor of a machine's
packages. Libraries fail to import in many ways: they are missing, or were compiled for another
version of PyTorch, which raises OSError, RuntimeError or AttributeError just as well.
"""

import sys
from collections.abc import Mapping
from types import TracebackType

from packaging.requirements import Requirement

from chorale.cluster.versions import FITTING, extras, pip_install, requirements, version_of

IMPORT_NAMES = {
    "scikit-learn": "sklearn",
    "imbalanced-learn": "imblearn",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "faiss-cpu": "faiss",
}
"""Distribution -> what is imported, where that is not the same name."""

OURS = "chorale"
MOST_CHARACTERS = 160
"""So much of a library's own words is repeated."""


def import_name(distribution: str) -> str:
    """What one imports of a distribution: "sklearn" of "scikit-learn"."""
    return IMPORT_NAMES.get(distribution, distribution.replace("-", "_"))


def cannot_import(error: BaseException) -> str | None:
    """The library whose import ended in `error`, why, and what to type; None if none did."""
    module = _failed(error)
    if module is None:
        return None
    why = first_line(str(error)) or type(error).__name__
    command = repair(module, is_missing=isinstance(error, ModuleNotFoundError))
    return f"{module} cannot be imported ({why}); type: {command}"


def first_line(text: str) -> str:
    """The first line of what a library said, cut to a readable length."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= MOST_CHARACTERS else f"{line[:MOST_CHARACTERS]}..."


def repair(
    module: str,
    *,
    is_missing: bool,
    versions: Mapping[str, str | None] | None = None,
    executable: str = sys.executable,
) -> str:
    """The command that installs what `module` belongs to, in versions that are known to fit.

    Args:
        module: a top-level module, as it is imported.
        is_missing: it is not there at all, rather than damaged.
        versions: of torch, torchaudio and torchvision; by default those of this environment.
        executable: the Python whose environment it is.
    """
    if module in FITTING[0]:
        return pip_install(*fitting_torch(versions), executable=executable)
    lines = [*requirements(), *(line for extra in extras() for line in requirements(extra))]
    wanted = next((line for line in lines if import_name(Requirement(line).name) == module), module)
    how = [] if is_missing else ["--force-reinstall", "--no-deps"]
    return pip_install(*how, wanted, executable=executable)


def fitting_torch(versions: Mapping[str, str | None] | None = None) -> list[str]:
    """Pins for torch and what is compiled for it, as words for pip.

    The installed torch is kept where something is known to fit it.
    """
    there = versions or {name: version_of(name) for name in FITTING[0]}
    kept = [one for one in FITTING if one["torch"] == _public(there.get("torch"))]
    wanted = {
        name: pin
        for name, pin in (kept or FITTING)[0].items()
        if name == "torch" or there.get(name)  # Chorale does without the other two
    }
    other = {name: pin for name, pin in wanted.items() if _public(there.get(name)) != pin}
    # The right versions that do not load are damaged: pip would leave them as they are.
    force = [] if other else ["--force-reinstall", "--no-deps"]
    return [*force, *(f"{name}=={pin}" for name, pin in (other or wanted).items())]


def _public(version: str | None) -> str | None:
    """A version without its build: "2.13.0" of "2.13.0+cpu"."""
    return None if version is None else version.partition("+")[0]


def _failed(error: BaseException) -> str | None:
    """The top-level module whose import raised `error`, if an import did and it is not ours.

    Of a library that imports another one, the other one: it is what must be mended.
    """
    found = ""
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        if frame.f_code.co_name == "<module>":  # what runs while a module is imported
            found = _top(str(frame.f_globals.get("__name__", ""))) or found
        trace = trace.tb_next
    if isinstance(error, ImportError):
        found = _top(error.name or "") or found
    return found or None


def _top(module: str) -> str:
    top = module.partition(".")[0]
    return "" if top in (OURS, "__main__") else top
