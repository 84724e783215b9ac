"""Which packages are imported, each case in its own process."""

import json
import subprocess
import sys

OPTIONAL = ("torchvision", "transformers", "scipy", "librosa", "onnxruntime")


def imported(code: str, names: tuple[str, ...]) -> list[str]:
    text = (
        f"import json, sys\n{code}\nprint(json.dumps([n for n in {names!r} if n in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_workers_import_lightning_without_torchmetrics_optional_dependencies() -> None:
    from chorale.search.sweep.worker_pool import PRELOADED

    code = "import importlib\n" + "\n".join(f"importlib.import_module({m!r})" for m in PRELOADED)
    names = ("pytorch_lightning", *OPTIONAL)
    assert imported(code, names) == ["pytorch_lightning"]


def test_a_command_imports_lightning_without_them_too() -> None:
    code = """
from chorale.search import cli
sys.argv = ["chorale", "data", "list"]
assert cli.main() == 0
import chorale.lightning_models.training.fit
"""
    names = ("pytorch_lightning", "torchvision", "transformers", "onnxruntime")
    assert imported(code, names) == ["pytorch_lightning"]


def test_hidden_packages_can_be_imported_afterwards() -> None:
    code = """
import chorale.lightning_models.patches.lean_lightning
import pytorch_lightning
from lightning_utilities.core.imports import RequirementCache, package_available
assert RequirementCache("scipy") and package_available("scipy")
import scipy.signal
"""
    assert imported(code, ("scipy",)) == ["scipy"]


def test_inference_does_not_import_lightning() -> None:
    heavy = ("torch", "pytorch_lightning", "torchvision", "pandas", "sklearn")
    assert imported("import chorale.search.bundle.predictor", heavy) == []
    networks = (
        "from chorale.lightning_models.training import checkpoint, predict; "
        "from chorale.lightning_models.data import datamodule"
    )
    assert imported(networks, heavy) == ["torch"]
