"""Which versions run here: Chorale's own, also in a checkout, and those of all that it needs.

`cluster.doctor.doctor` compares them between machines; a report says what it was made with.
"""

import shlex
import sys
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

NAME = "chorale-audio"
"""The name of the distribution, as pip knows it."""

FITTING = (
    {"torch": "2.15.0", "torchaudio": "2.11.1", "torchvision": "0.29.2"},
    {"torch": "2.13.0", "torchaudio": "2.11.1", "torchvision": "0.28.0"},
    {"torch": "2.11.0", "torchaudio": "2.11.0", "torchvision": "0.26.0"},
)
"""Versions that are compiled for one another and were tested together, the newest first.

Their own metadata promise more: torchaudio 2.11.1 asks for torch 2.11, but does not load there.
"""

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


def requirements(extra: str = "") -> list[str]:
    """What Chorale always needs, as pip understands it: "torch>=2.13,<2.16"; or what an extra adds.

    An extra that names others of Chorale's own is given with what they add.
    """
    if _project():
        optional = _project()["optional-dependencies"]
        lines = [str(one) for one in (optional[extra] if extra else _project()["dependencies"])]
    else:
        try:
            every = [Requirement(one) for one in metadata.requires(NAME) or []]
        except metadata.PackageNotFoundError:
            return []
        lines = [_without_marker(one) for one in every if _belongs(one, extra)]
    found: list[str] = []
    for line in lines:
        one = Requirement(line)
        inner = sorted(one.extras) if one.name == NAME else []
        found += [other for name in inner for other in requirements(name)] if inner else [line]
    return found


def extras() -> list[str]:
    """The names of what may be installed besides; what tests need is not among them."""
    if _project():
        names = list(_project()["optional-dependencies"])
    else:
        try:
            names = metadata.metadata(NAME).get_all("Provides-Extra") or []
        except metadata.PackageNotFoundError:
            names = []
    return [name for name in names if name != "test"]


def required_names() -> list[str]:
    """The distributions that Chorale always needs, by name."""
    return [Requirement(one).name for one in requirements()]


def pip_install(*words: str, executable: str = sys.executable) -> str:
    """The command that installs something into the environment of a Python, by default this one."""
    return shlex.join([executable, "-m", "pip", "install", *words])


def install_extra(extra: str) -> str:
    """The command that installs what an extra adds, by the packages' own names.

    By Chorale's name pip would look for a release of it, where this is a checkout.
    """
    return pip_install(*requirements(extra))


def _belongs(one: Requirement, extra: str) -> bool:
    if one.marker is None:
        return not extra
    # A marker of another kind than of an extra holds for both, or for neither.
    with_it, without = (one.marker.evaluate({"extra": name}) for name in (extra, ""))
    return with_it and not without if extra else without


def _without_marker(one: Requirement) -> str:
    return str(one).partition(";")[0].strip()


@cache
def _project() -> dict[str, Any]:
    """The project's table in a checkout's pyproject.toml; empty where this is no checkout."""
    file = CHECKOUT / "pyproject.toml"
    if not file.is_file():
        return {}
    project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
    return dict(project) if project.get("name") == NAME else {}
