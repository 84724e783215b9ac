"""Private names of other libraries stand in one file per library, each of which checks for them."""

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("cluster", "datasets", "lightning_models", "search")

PRIVATE = re.compile(r"\b_[A-Za-z0-9]")

FENCES = {
    "cluster/_ray.py",
    "cluster/tune/_tune.py",
    "lightning_models/patches/_lightning.py",
    "lightning_models/patches/_torch.py",
    "lightning_models/patches/lean_lightning.py",  # is imported before Lightning, and alone
    "datasets/programs/_torchaudio.py",
    "search/baselines/_sklearn.py",
    "search/ledger/_optuna.py",
}
"""The files that may use private names of other libraries."""


def _sources() -> Iterator[tuple[str, list[ast.AST]]]:
    """The syntax nodes of each file in which any name begins with one underline."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            if PRIVATE.search(text):
                yield path.relative_to(ROOT).as_posix(), list(ast.walk(ast.parse(text)))


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def _own_names(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Private names that a file defines: functions, classes, variables, attributes, fields."""
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr


def _foreign(nodes: Iterable[ast.AST], own: set[str]) -> Iterator[tuple[int, str]]:
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("chorale"):
            parts = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            yield from ((node.lineno, part) for part in parts if _is_private(part))
        elif isinstance(node, ast.Import):
            parts = [part for alias in node.names for part in alias.name.split(".")]
            yield from ((node.lineno, part) for part in parts if _is_private(part))
        elif isinstance(node, ast.Attribute) and _is_private(node.attr) and node.attr not in own:
            yield node.lineno, node.attr


def test_private_names_of_other_libraries_stand_in_fenced_files_only() -> None:
    sources = dict(_sources())
    own = {name for nodes in sources.values() for name in _own_names(nodes)}
    found = [
        f"{file}:{line}: {name}"
        for file, nodes in sources.items()
        if file not in FENCES
        for line, name in _foreign(nodes, own)
        if name not in sys.stdlib_module_names  # as _thread
    ]
    assert found == []
