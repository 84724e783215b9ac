"""One name, one meaning: a public function or class is defined in one module only."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("search", "lightning_models", "datasets", "cluster")

CONTRACTS = {
    "datasets/catalog": {"Config", "tracks", "features", "not_read"},
    "datasets/encoders": {"convert", "load", "load_block_input", "last_blocks"},
    "datasets/features": {"Config", "extract", "network", "scale"},
    "datasets/programs": {
        "expected_shapes",
        "first_block",
        "last_blocks",
        "load",
        "load_block_input",
    },
    "lightning_models/architectures": {"Config", "build", "chain", "narrowed"},
    "search/combining": {"predict"},  # of the ensembles that share it
    "search/commands": {"run"},
    "search/ensembles": {"fit", "network", "predict"},
    "search/tracking/trackers": {"open_server"},
}
"""Folder of plug-ins, or of networks -> what each of its files may define, by their contract."""

ENTRY_POINTS = {"main", "serve"}
"""What a process starts with."""


def definitions() -> dict[str, list[str]]:
    """Public name -> the modules that define it as a function or a class, contracts left out."""
    found = defaultdict(list)
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            place = path.relative_to(ROOT)
            contract = CONTRACTS.get(place.parent.as_posix(), set())
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if (
                    isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
                    and not node.name.startswith("_")
                    and node.name not in contract | ENTRY_POINTS
                ):
                    found[node.name].append(place.as_posix())
    return found


def test_public_names_have_one_meaning() -> None:
    found = definitions()
    assert "run_sweep" in found
    assert {name: places for name, places in found.items() if len(places) > 1} == {}
