"""Lazy plug-in declarations: reads a plug-in's config and search space without its heavy imports.

Commands that only validate or plan a sweep need no PyTorch and no SciPy, which take seconds to
import. Only those statements of a plug-in's file are executed on which its declarations depend; the
file itself stays an ordinary module with its imports at the top.
"""

import ast
import sys
from collections.abc import Collection
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from chorale.datasets.plugins import require_plugin


def read_declarations(package: ModuleType, name: str, *, kind: str, names: Collection[str]) -> Any:
    """A plug-in's declarations as attributes; the module itself if it is already imported.

    A class read here is not identical to the module's class, though equal in every field: use its
    objects for inspection only, do not store them or send them to other processes.

    Args:
        package: the package whose files are the plug-ins.
        name: the file name without its ending.
        kind: what the plug-in is, for the error: "dataset".
        names: the declarations to read; those that the plug-in lacks are missing here, too.

    Raises:
        UserError: no file has that name; the error suggests the nearest one.
    """
    require_plugin(package, name, kind=kind)
    full = f"{package.__name__}.{name}"
    if full in sys.modules:
        return sys.modules[full]
    [file] = [at for folder in package.__path__ if (at := Path(folder, f"{name}.py")).is_file()]
    return _run(full, file, frozenset(names))


@cache
def _run(full: str, file: Path, names: frozenset[str]) -> ModuleType:
    tree = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
    tree.body = _needed(tree.body, names)
    made = ModuleType(f"{full}:declared")
    made.__file__ = str(file)
    exec(compile(tree, str(file), "exec"), made.__dict__)
    return made


def _needed(body: list[ast.stmt], names: Collection[str]) -> list[ast.stmt]:
    """The statements that define `names`, and those that they depend on, in their order."""
    wanted, kept = set(names), [False] * len(body)
    before = -1
    while before != len(wanted):
        before = len(wanted)
        for i, statement in enumerate(body):
            if not kept[i] and (_defined(statement) & wanted or _has_side_effects(statement)):
                kept[i] = True
                wanted |= _used(statement)
    return [
        _narrowed(statement, wanted) for statement, keep in zip(body, kept, strict=True) if keep
    ]


def _defined(statement: ast.stmt) -> set[str]:
    """The names that a statement binds."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {_bound(alias) for alias in statement.names}
    if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return {statement.name}
    nodes = ast.walk(statement)
    return {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def _has_side_effects(statement: ast.stmt) -> bool:
    """Whether it may change what others defined: it is neither a definition nor a docstring."""
    if isinstance(statement, ast.Expr):
        return not isinstance(statement.value, ast.Constant)
    definitions = (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return not isinstance(statement, (*definitions, ast.Assign, ast.AnnAssign))


def _used(statement: ast.stmt) -> set[str]:
    nodes = ast.walk(statement)
    return {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def _narrowed(statement: ast.stmt, wanted: set[str]) -> ast.stmt:
    """An import without the names that are not needed."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        statement.names = [alias for alias in statement.names if _bound(alias) in wanted]
    return statement


def _bound(alias: ast.alias) -> str:
    return (alias.asname or alias.name).split(".")[0]
