"""Makes this process's import of Lightning leave out torchmetrics' optional dependencies.

Lightning imports all of torchmetrics, which imports torchvision, transformers and SciPy if they are
installed, for metrics that are not used here: half of the time of its import. A process that
imports this module before Lightning can still import those packages, but not use those metrics; so
it is for our own processes (the command line and its workers), never for a program of somebody else
that imports Chorale.
"""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

LIGHTNING = ("lightning_fabric", "pytorch_lightning")
"""Lightning's packages; whichever is imported first imports all of torchmetrics."""

UNWANTED = ("scipy", "torchvision", "transformers", "onnxruntime", "librosa", "matplotlib")


@contextmanager
def _as_if_missing() -> Iterator[None]:
    """Within the block, lightning-utilities reports the packages in `UNWANTED` as not installed."""
    from lightning_utilities.core import imports

    original, ask = imports.RequirementCache._check_available, imports.package_available

    def check(cache: Any) -> None:
        original(cache)
        if (cache.requirement or cache.module).startswith(UNWANTED):
            cache.available = False

    setattr(imports.RequirementCache, "_check_available", check)  # noqa: B010 - for mypy
    setattr(imports, "package_available", lambda name: name not in UNWANTED and ask(name))  # noqa: B010
    try:
        yield
    finally:
        setattr(imports.RequirementCache, "_check_available", original)  # noqa: B010
        setattr(imports, "package_available", ask)  # noqa: B010


class _LeanLoader(Loader):
    """Runs a package's own loader within `_as_if_missing`."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        with _as_if_missing():
            self._loader.exec_module(module)


class _LeanFinder(MetaPathFinder):
    """Gives Lightning a `_LeanLoader`, once; other packages are found as always."""

    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        if name not in LIGHTNING:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _LeanLoader(spec.loader)
        return spec


if not any(name in sys.modules for name in LIGHTNING):
    sys.meta_path.insert(0, _LeanFinder())
