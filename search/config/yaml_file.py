"""Reads sweep files (YAML) and dotted overrides; `search.config.schema` validates the values.

YAML is loaded safely, and `1e-4` is a number here (in YAML 1.1 it is a string).
"""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from chorale.datasets.errors import UserError

SHIPPED_SWEEPS = Path(__file__).parents[1] / "sweeps"


class _Loader(yaml.SafeLoader):
    """Safe YAML with the numbers of YAML 1.2."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)$"),
    list("-+0123456789."),
)


def is_shipped_sweep(name: str) -> bool:
    """Whether it is the name of a shipped sweep, with or without its ending, and no other path."""
    stem = name.removesuffix(".yaml")
    return "/" not in name and (SHIPPED_SWEEPS / f"{stem}.yaml").is_file()


def find_sweep_file(name: str) -> Path:
    """The sweep file with a given path, or with the name of a shipped sweep.

    Raises:
        UserError: there is neither; the error suggests the nearest shipped one.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    shipped = {p.stem: p for p in sorted(SHIPPED_SWEEPS.glob("*.yaml"))}
    stem = path.name.removesuffix(".yaml")
    if is_shipped_sweep(name):
        return shipped[stem]
    if path.is_dir():
        raise UserError(
            f"'{name}' is a folder, but this needs a sweep file; write one that says: "
            f"dataset: {{name: folder, root: {name}}}"
        )
    near = difflib.get_close_matches(stem, shipped, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'? " if near else ""
    raise UserError(
        f"there is no sweep file '{name}'; {hint}"
        f"give a path, or one of the shipped sweeps: {', '.join(shipped)}"
    )


def read_yaml(path: Path) -> dict[str, Any]:
    """The plain values of a sweep file.

    Raises:
        UserError: it is not YAML (the error gives line and column), or not a mapping.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise UserError(f"{path}{place}: not YAML: {error.problem}") from None
    except (UnicodeDecodeError, yaml.YAMLError):
        raise UserError(f"{path}: not a text file in UTF-8; a sweep file is YAML") from None
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UserError(f"{path}: should hold `key: value` lines, but got {values!r:.60}")
    return values


def parse_overrides(args: Sequence[str]) -> dict[str, Any]:
    """`--budget.trials 8 --name=mine` -> `{"budget.trials": 8, "name": "mine"}`.

    Raises:
        UserError: an argument that is no `--key`, or a key without a value.
    """
    found: dict[str, Any] = {}
    rest = list(args)
    while rest:
        arg = rest.pop(0)
        if not arg.startswith("--") or arg == "--":
            raise UserError(f"expected --key value, but got '{arg}'; see: chorale keys")
        key, equals, text = arg[2:].partition("=")
        if not equals:
            if not rest or re.match(r"--[A-Za-z]", rest[0]):
                raise UserError(f"--{key} needs a value: --{key} VALUE; see: chorale keys")
            text = rest.pop(0)
        try:
            found[key] = yaml.load(text, Loader=_Loader)
        except yaml.YAMLError:
            found[key] = text
    return found


def merge_overrides(values: dict[str, Any], dotted: dict[str, Any]) -> dict[str, Any]:
    """`values` with each dotted key set; an existing value is replaced.

    Raises:
        UserError: a part of a key names a value that has no keys.
    """
    merged = _copy(values)
    for key, value in dotted.items():
        *parents, last = key.split(".")
        place = merged
        for depth, part in enumerate(parents, start=1):
            if place.get(part) is None:
                place[part] = {}
            if not isinstance(place[part], dict):
                above = ".".join(parents[:depth])
                raise UserError(f"--{key}: '{above}' is {place[part]!r}, which has no keys")
            place = place[part]
        place[last] = value
    return merged


def _copy(values: dict[str, Any]) -> dict[str, Any]:
    return {k: _copy(v) if isinstance(v, dict) else v for k, v in values.items()}
