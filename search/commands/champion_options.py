"""The champion of a command: `[NAME] [--runs FOLDER]`."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chorale.datasets.errors import UserError, unknown_name_error
from chorale.search.commands.command import command_line
from chorale.search.commands.parameters import runs_option
from chorale.search.paths import Runs

if TYPE_CHECKING:
    from chorale.search.champion.registry.registry import Registry

NAME_HELP = "That of a nightly file, or its key champion; optional if there is only one champion."


@dataclass(frozen=True)
class ChampionOptions:
    """The name of a champion, and the folder of all studies."""

    name: str
    runs: Runs

    @property
    def registry(self) -> "Registry":
        """The registry of its bundles."""
        from chorale.search.champion.registry.registry import Registry

        return Registry(self.runs.champion(self.name))


def champion_options(function: Callable[..., int]) -> Callable[..., int]:
    """Decorator: the function's first argument is a `ChampionOptions`, of NAME and --runs."""

    @functools.wraps(function)
    def run(*, name: str | None, runs: str, **more: Any) -> int:
        return function(_chosen_champion(name, Runs(Path(runs).expanduser())), **more)

    return click.argument("name", required=False, help=NAME_HELP)(runs_option(run))


def _chosen_champion(name: str | None, runs: Runs) -> ChampionOptions:
    """The champion of that name, or the only one.

    Raises:
        UserError: there is none, or there are several and none was named.
    """
    known = known_champions(runs)
    if not known:
        raise _none(runs)
    if name is not None and name not in known:
        raise unknown_name_error("champion", name, known)
    if name is None and len(known) > 1:
        raise UserError(
            f"there are several champions in '{runs.root}' ({', '.join(known)}); name one: "
            f"{command_line().path} NAME"
        )
    return ChampionOptions(name or known[0], runs)


def known_champions(runs: Runs) -> list[str]:
    """The names of all champions."""
    folder = runs.champion("x").root.parent
    pointers = sorted(folder.glob("*/*")) if folder.is_dir() else []
    return sorted({path.parent.name for path in pointers if path == _pointer(runs, path)})


def _pointer(runs: Runs, path: Path) -> Path:
    return runs.champion(path.parent.name).pointer


def _none(runs: Runs) -> UserError:
    return UserError(
        f"there is no champion in '{runs.root}' yet; the first night makes one (chorale nightly "
        f"nightly_demo), or: chorale champion promote STUDY"
    )
