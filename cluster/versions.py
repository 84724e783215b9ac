"""Which versions run here: Chorale's own, also in a checkout, and those of all that it needs.

`cluster.doctor` compares them between machines; a report says what it was made with.
"""

import re
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

NAME = "chorale-audio"
"""The name of the distribution, as pip knows it."""

CHECKOUT = Path(__file__).resolve().parents[1]
"""The folder that the four packages lie in."""


def version_of(name: str) -> str | None:
    """The installed version of a distribution, or None; Chorale's own needs no installation."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return str(_project()["version"]) if name == NAME and _project() else None


def versions(names: Iterable[str]) -> dict[str, str | None]:
    """Name -> version, or None where it is not installed."""
    return {name: version_of(name) for name in names}


def requirements() -> list[str]:
    """What Chorale always needs, as pip understands it: "torch>=2.13,<2.16"."""
    if _project():
        return [str(one) for one in _project()["dependencies"]]
    try:
        return [one for one in metadata.requires(NAME) or [] if "extra ==" not in one]
    except metadata.PackageNotFoundError:
        return []


def required_names() -> list[str]:
    """The distributions that Chorale always needs, by name."""
    return [re.split(r"[^A-Za-z0-9_.-]", one, maxsplit=1)[0] for one in requirements()]


@cache
def _project() -> dict[str, Any]:
    """The project's table in a checkout's pyproject.toml; empty where this is no checkout."""
    file = CHECKOUT / "pyproject.toml"
    if not file.is_file():
        return {}
    project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
    return dict(project) if project.get("name") == NAME else {}
