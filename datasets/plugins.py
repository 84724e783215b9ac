"""Plug-in discovery by file name: datasets, feature sets, architectures, ensembles.

A plug-in is a module in a package; its file name is its public name. There is no registry, so
adding one means adding one file, here or in a folder of one's own (`datasets.plugin_folders`). A
plug-in is imported only when it is used.
"""

import importlib
import pkgutil
from types import ModuleType

from chorale.datasets.errors import unknown_name_error
from chorale.datasets.plugin_folders import extend, extend_by_installed


def plugin_names(package: ModuleType) -> tuple[str, ...]:
    """The public names of all plug-ins in `package`, sorted.

    Those of installed packages only once one of them was asked for by name.
    """
    extend(package)
    modules = pkgutil.iter_modules(package.__path__)
    return tuple(sorted(m.name for m in modules if not m.name.startswith("_")))


def has_plugin(package: ModuleType, name: str) -> bool:
    """Whether there is a plug-in of that name, also in an installed package."""
    if name not in plugin_names(package):
        extend_by_installed(package, name)
    return name in plugin_names(package)


def load_plugin(package: ModuleType, name: str, *, kind: str) -> ModuleType:
    """Imports the plug-in `name` of `package`.

    Args:
        package: the package whose files are the plug-ins.
        name: the file name without its ending.
        kind: what the plug-in is, for the error: "dataset".

    Raises:
        UserError: no file has that name; the error suggests the nearest one.
    """
    require_plugin(package, name, kind=kind)
    return importlib.import_module(f"{package.__name__}.{name}")


def require_plugin(package: ModuleType, name: str, *, kind: str) -> None:
    """Checks that there is a plug-in of that name, without importing it.

    Raises:
        UserError: there is none; the error suggests the nearest one.
    """
    if not has_plugin(package, name):
        raise unknown_name_error(kind, name, plugin_names(package))
