"""Finds the one-file-one-thing plug-ins by file name: datasets, features, architectures, ensembles.

A plug-in is a module in a package; its file name is its public name. Nothing is registered, so
adding one means adding one file. A plug-in is imported only when it is asked for.
"""

import importlib
import pkgutil
from types import ModuleType

from chorale.datasets.errors import unknown


def names(package: ModuleType) -> tuple[str, ...]:
    """The public names of all plug-ins in `package`, sorted."""
    modules = pkgutil.iter_modules(package.__path__)
    return tuple(sorted(m.name for m in modules if not m.name.startswith("_")))


def load(package: ModuleType, name: str, *, kind: str) -> ModuleType:
    """Imports the plug-in `name` of `package`.

    Args:
        package: the package whose files are the plug-ins.
        name: the file name without its ending.
        kind: what the plug-in is, in the user's words; used in the error.

    Raises:
        UserError: no file has that name; the nearest one is offered.
    """
    refuse_unknown(package, name, kind=kind)
    return importlib.import_module(f"{package.__name__}.{name}")


def refuse_unknown(package: ModuleType, name: str, *, kind: str) -> None:
    """Looks whether there is a plug-in of that name, and imports nothing.

    Raises:
        UserError: there is none; the nearest one is offered.
    """
    allowed = names(package)
    if name not in allowed:
        raise unknown(kind, name, allowed)
