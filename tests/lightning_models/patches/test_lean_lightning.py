"""Which packages are imported, one step after the other in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence

import pytest

from chorale.search.sweep.worker_pool import PRELOADED

OPTIONAL = ("torchvision", "transformers", "scipy", "librosa", "onnxruntime")
HEAVY = ("torch", "pytorch_lightning", "pandas", "sklearn", *OPTIONAL)
PRELOAD = "\n".join(f"import {module}" for module in PRELOADED)
HIDDEN = """
from lightning_utilities.core.imports import RequirementCache, package_available
assert RequirementCache("scipy") and package_available("scipy")
import scipy.signal
"""
STEPS = {
    "predictor": "import chorale.search.bundle.predictor",
    "networks": """
from chorale.lightning_models.training import checkpoint, predict
from chorale.lightning_models.data import datamodule
""",
    "workers": PRELOAD,
    "hidden": HIDDEN,
}


@pytest.fixture(scope="module")
def imported() -> Mapping[str, Sequence[str]]:
    """Step -> which of `HEAVY` are imported after it and the ones before."""
    code = "import json, sys\nfound = {}\n" + "".join(
        f"{step}\nfound[{name!r}] = [n for n in {HEAVY!r} if n in sys.modules]\n"
        for name, step in STEPS.items()
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{code}print(json.dumps(found))"],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_inference_does_not_import_lightning(imported: Mapping[str, Sequence[str]]) -> None:
    not_of_inference = {"torch", "pytorch_lightning", "torchvision", "pandas", "sklearn"}
    assert not_of_inference.isdisjoint(imported["predictor"])
    assert not_of_inference.intersection(imported["networks"]) == {"torch"}


def test_workers_import_lightning_without_torchmetrics_optional_dependencies(
    imported: Mapping[str, Sequence[str]],
) -> None:
    assert "pytorch_lightning" in imported["workers"]
    assert set(OPTIONAL).isdisjoint(imported["workers"])


def test_a_command_prepares_the_lean_import_before_lightning_is_imported() -> None:
    """Then its import leaves them out, as in workers."""
    code = """
import sys
from chorale.search import cli
sys.argv = ["chorale", "data", "list"]
assert cli.main() == 0
assert "chorale.lightning_models.patches.lean_lightning" in sys.modules
assert not {"pytorch_lightning", "lightning_fabric"} & sys.modules.keys()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""  # the exit code is that of the command, whatever comes after it


def test_hidden_packages_can_be_imported_afterwards(
    imported: Mapping[str, Sequence[str]],
) -> None:
    assert "scipy" in imported["hidden"]
