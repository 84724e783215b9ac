"""Imports Lightning without torchmetrics' optional dependencies, in half the time; for workers.

Lightning imports all of torchmetrics, which imports torchvision, transformers and SciPy if they are
installed, for metrics that are not used here. A process that imports this module first can still
import those packages, but not use those metrics; so it is for our own processes, from which
`search.sweep.worker_pool` forks workers, never for a process that runs other people's code.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning_utilities.core import imports

UNWANTED = ("scipy", "torchvision", "transformers", "onnxruntime", "librosa", "matplotlib")


@contextmanager
def _as_if_missing() -> Iterator[None]:
    """Within the block, lightning-utilities reports the packages in `UNWANTED` as not installed."""
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


with _as_if_missing():
    import pytorch_lightning  # noqa: F401
