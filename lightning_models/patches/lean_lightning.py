"""Imports Lightning without what torchmetrics brings along: in half the time, in workers alone.

Lightning imports the whole of torchmetrics, and that torchvision, transformers and SciPy wherever
they are installed, for measures that nobody here asks for. A process in which this is imported
first can still import them, but not use those measures; so it is for processes of our own, which
`search.sweep.workers` has fork workers, and never for one that others' code runs in.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning_utilities.core import imports

UNWANTED = ("scipy", "torchvision", "transformers", "onnxruntime", "librosa", "matplotlib")


@contextmanager
def _as_if_missing() -> Iterator[None]:
    """Within the block, whoever asks lightning-utilities for `UNWANTED` hears: not installed."""
    whole, ask = imports.RequirementCache._check_available, imports.package_available

    def check(cache: Any) -> None:
        whole(cache)
        if (cache.requirement or cache.module).startswith(UNWANTED):
            cache.available = False

    setattr(imports.RequirementCache, "_check_available", check)  # noqa: B010 - for mypy
    setattr(imports, "package_available", lambda name: name not in UNWANTED and ask(name))  # noqa: B010
    try:
        yield
    finally:
        setattr(imports.RequirementCache, "_check_available", whole)  # noqa: B010
        setattr(imports, "package_available", ask)  # noqa: B010


with _as_if_missing():
    import pytorch_lightning  # noqa: F401
