"""Installed versions and requirements of Chorale and its dependencies, also in a checkout.

`cluster.doctor.doctor` compares them between machines; a report lists those it was made with.
"""

import importlib
import shlex
import sys
import tomllib
from collections.abc import Iterable
from functools import cache, reduce
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

DISTRIBUTION = "chorale-audio"
"""The distribution's name for pip."""

COMPATIBLE_TORCH = (
    {"torch": "2.15.0", "torchaudio": "2.11.1", "torchvision": "0.29.2"},
    {"torch": "2.13.0", "torchaudio": "2.11.1", "torchvision": "0.28.0"},
    {"torch": "2.11.0", "torchaudio": "2.11.0", "torchvision": "0.26.0"},
)
"""Versions that were compiled for one another and tested together, the newest first.

Their own metadata are too permissive: torchaudio 2.11.1 accepts torch 2.11, but does not load
with it.
"""

REPOSITORY_ROOT = Path(__file__).resolve().parents[1]
"""The folder that holds the four packages."""


def version_of(name: str) -> str | None:
    """The installed version of a distribution, or None; Chorale's own also in a checkout."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return str(_project()["version"]) if name == DISTRIBUTION and _project() else None


def versions_of(names: Iterable[str]) -> dict[str, str | None]:
    """Name -> version, or None if it is not installed."""
    return {name: version_of(name) for name in names}


def requirements(extra: str = "") -> list[str]:
    """Chorale's requirements as pip specifiers, "torch>=2.13,<2.16", or those that an extra adds.

    An extra that names other extras of Chorale is expanded.
    """
    if _project():
        optional = _project()["optional-dependencies"]
        lines = [str(one) for one in (optional[extra] if extra else _project()["dependencies"])]
    else:
        try:
            every = [Requirement(one) for one in metadata.requires(DISTRIBUTION) or []]
        except metadata.PackageNotFoundError:
            return []
        lines = [_without_marker(one) for one in every if _belongs(one, extra)]
    found: list[str] = []
    for line in lines:
        one = Requirement(line)
        inner = sorted(one.extras) if one.name == DISTRIBUTION else []
        found += [other for name in inner for other in requirements(name)] if inner else [line]
    return found


def extras() -> list[str]:
    """The names of the optional extras; test dependencies are not among them."""
    if _project():
        names = list(_project()["optional-dependencies"])
    else:
        try:
            names = metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or []
        except metadata.PackageNotFoundError:
            names = []
    return [name for name in names if name != "test"]


def required_distributions() -> list[str]:
    """The names of the distributions that Chorale always needs."""
    return [Requirement(one).name for one in requirements()]


def pip_install_command(*words: str, executable: str = sys.executable) -> str:
    """The command that installs into the environment of a Python, by default this one."""
    return shlex.join([executable, "-m", "pip", "install", *words])


def install_extra_command(extra: str) -> str:
    """The command that installs what an extra adds, by the packages' own names.

    In a checkout, pip would look for a release of Chorale if given its name.
    """
    return pip_install_command(*requirements(extra))


def _belongs(one: Requirement, extra: str) -> bool:
    if one.marker is None:
        return not extra
    # A marker without an extra is true in both cases, or in neither.
    with_it, without = (one.marker.evaluate({"extra": name}) for name in (extra, ""))
    return with_it and not without if extra else without


def _without_marker(one: Requirement) -> str:
    return str(one).partition(";")[0].strip()


@cache
def _project() -> dict[str, Any]:
    """The table [project] of a checkout's pyproject.toml; empty if this is no checkout."""
    file = REPOSITORY_ROOT / "pyproject.toml"
    if not file.is_file():
        return {}
    project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
    return dict(project) if project.get("name") == DISTRIBUTION else {}


def missing_names(required: Iterable[str]) -> list[str]:
    """Those of `required` names of other packages, as module:attributes, that are not there."""
    missing = []
    for name in required:
        module, _, attributes = name.partition(":")
        try:
            reduce(getattr, attributes.split("."), importlib.import_module(module))
        except (ImportError, AttributeError):
            missing.append(name.replace(":", "."))
    return missing
