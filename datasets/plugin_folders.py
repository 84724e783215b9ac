"""Plug-ins from outside: folders, single files and installed packages of users.

A plug-in folder has subfolders of plug-ins, each with one file a plug-in, as Chorale's own:
`architectures`, `datasets`, `encoders`, `ensembles`, `features`. The environment variable
`CHORALE_PLUGINS`, which worker processes inherit, lists such folders; `--plugins` adds to it. An
installed package is one as well if it has an entry point of the group `chorale.plugins`; its
plug-ins are found by name, and take part in nothing that does not name them.
"""

import ast
import hashlib
import os
from collections.abc import Iterator
from functools import cache
from importlib import invalidate_caches, metadata
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from chorale.datasets.errors import UserError

VARIABLE = "CHORALE_PLUGINS"
ENTRY_POINTS = "chorale.plugins"

FOLDERS = {
    "chorale.datasets.catalog": "datasets",
    "chorale.datasets.encoders": "encoders",
    "chorale.datasets.features": "features",
    "chorale.lightning_models.architectures": "architectures",
    "chorale.search.ensembles": "ensembles",
}
"""Package of plug-ins -> the subfolder of a plug-in folder that extends it."""

DECLARED = {
    "architectures": {"build", "SPACE"},
    "datasets": {"tracks", "INFO"},
    "ensembles": {"fit", "predict"},
    "features": {"extract", "LAYOUT"},
}
"""Subfolder -> what each of its plug-ins defines, by which a single file is recognised."""


def add_plugins(where: str) -> None:
    """Adds a plug-in folder, a plug-in's file or an importable package, for child processes, too.

    Raises:
        UserError: it is none of these, or has no plug-ins.
    """
    _add(_folder_of(where))


def _add(folder: Path) -> None:
    known = os.environ.get(VARIABLE, "").split(os.pathsep)
    if str(folder) not in known:
        os.environ[VARIABLE] = os.pathsep.join(filter(None, [*known, str(folder)]))


def extend(package: ModuleType) -> None:
    """Lets `package` find the plug-ins of all folders in `CHORALE_PLUGINS`.

    Raises:
        UserError: a folder is missing, or one of its plug-ins has the name of another.
    """
    for root in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        if not Path(root).is_dir():
            raise UserError(f"{VARIABLE} names '{root}', which is no folder; correct or unset it")
        _append(package, Path(root))


def extend_by_installed(package: ModuleType, name: str) -> None:
    """Adds the installed package that has the plug-in `name`, if any, for child processes, too."""
    for root in _installed_folders():
        if (root / FOLDERS.get(package.__name__, "") / f"{name}.py").is_file():
            _add(root)
            _append(package, root)


def _append(package: ModuleType, root: Path) -> None:
    subfolder = FOLDERS.get(package.__name__)
    if subfolder is None or not (folder := root / subfolder).is_dir():
        return
    if str(folder) in package.__path__:
        return
    if gone := [file for file in _plugin_files(folder) if not file.exists()]:
        raise UserError(
            f"the plug-in '{gone[0].readlink()}' is gone; restore it, or take '{root}' out of "
            f"{VARIABLE}"
        )
    mine = {file.stem for file in _plugin_files(folder)}
    for other in package.__path__:
        if twice := sorted(mine & {file.stem for file in _plugin_files(Path(other))}):
            raise UserError(
                f"'{folder / twice[0]}.py' has the name of a plug-in in '{other}'; rename your file"
            )
    package.__path__ = [*package.__path__, str(folder)]
    invalidate_caches()  # the folder may be newer than what was looked up before


def _plugin_files(folder: Path) -> Iterator[Path]:
    return (file for file in folder.glob("*.py") if not file.name.startswith("_"))


@cache
def _installed_folders() -> tuple[Path, ...]:
    """The folders of installed packages with plug-ins; reading all entry points takes long."""
    return tuple(_package_folder(one.value) for one in metadata.entry_points(group=ENTRY_POINTS))


def _is_package(name: str) -> bool:
    try:
        return name.replace(".", "").isidentifier() and find_spec(name) is not None
    except (ImportError, ValueError):  # of a parent
        return False


def _package_folder(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"'{name}' is no package with plug-ins; install it again")
    return Path(next(iter(spec.submodule_search_locations)))


def _folder_of(where: str) -> Path:
    """The plug-in folder that a folder, a file or a package's name stands for."""
    path = Path(where).expanduser().absolute()
    if path.is_file():
        return _linked(path)
    if not path.is_dir():
        if not _is_package(where):
            raise UserError(
                f"--plugins {where}: there is no such folder, file or package; give a folder with "
                f"{_subfolders()}, or one plug-in's .py file"
            )
        path = _package_folder(where)
    if not any((path / name).is_dir() for name in FOLDERS.values()):
        raise UserError(
            f"--plugins {where}: it has none of the folders {_subfolders()}; put each plug-in into "
            f"the folder of its kind"
        )
    return path


def _subfolders() -> str:
    return ", ".join(sorted(FOLDERS.values()))


def _linked(file: Path) -> Path:
    """A plug-in folder in the user's cache whose only plug-in is a link to `file`."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = home / "chorale" / "plugins" / hashlib.sha256(bytes(file)).hexdigest()[:16]
    link = folder / _kind_of(file) / file.name
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(file)
    return folder


def _kind_of(file: Path) -> str:
    """The subfolder that a plug-in's file belongs to, by what it defines; it is not run."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"--plugins {file}: it cannot be read as Python ({error})") from None
    defined = {name for statement in tree.body for name in _defined(statement)}
    for kind, names in DECLARED.items():
        if names <= defined:
            return kind
    needed = "; ".join(f"{kind}: {', '.join(sorted(DECLARED[kind]))}" for kind in DECLARED)
    raise UserError(
        f"--plugins {file}: it is no plug-in, which defines ({needed}); add what is missing, or "
        f"give a folder with the folders of the kinds"
    )


def _defined(statement: ast.stmt) -> set[str]:
    """The names that a statement at the top of a file binds."""
    if isinstance(statement, ast.FunctionDef):
        return {statement.name}
    if isinstance(statement, ast.ImportFrom):
        return {alias.asname or alias.name for alias in statement.names}
    names = (one for one in ast.walk(statement) if isinstance(one, ast.Name))
    return {name.id for name in names if isinstance(name.ctx, ast.Store)}
