"""Argument parsing that the champion commands share: `[NAME] [--runs FOLDER]`."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.datasets.errors import UserError, unknown_name_error
from chorale.search.commands.study_options import split_arguments
from chorale.search.paths import Runs

if TYPE_CHECKING:
    from chorale.search.champion.registry.registry import Registry

NAME_HELP = (
    "NAME is that of a nightly file, or its `champion` key; optional if there is only one champion."
)


@dataclass(frozen=True)
class ChampionOptions:
    """The name of a champion, the options and the flags."""

    name: str
    runs: Runs
    options: dict[str, str]
    flags: Collection[str] = ()

    @property
    def registry(self) -> "Registry":
        """The registry of its bundles."""
        from chorale.search.champion.registry.registry import Registry

        return Registry(self.runs.champion(self.name))


def parse_champion_options(
    args: Sequence[str],
    *,
    command: str,
    options: Collection[str] = (),
    flags: Collection[str] = (),
) -> ChampionOptions:
    """Parses the arguments after `chorale champion COMMAND`.

    Raises:
        UserError: an unknown option, there is no champion, or there are several and none was named.
    """
    names, given, seen = split_arguments(args, options=("runs", *options), flags=flags)
    if len(names) > 1:
        raise UserError(f"expected the name of one champion, but got {' '.join(names)}")
    runs = Runs(Path(given.get("runs", "runs")).expanduser())
    known = known_champions(runs)
    if names and names[0] not in known:
        if not known:
            raise _none(runs)
        raise unknown_name_error("champion", names[0], known)
    if not names and len(known) != 1:
        if not known:
            raise _none(runs)
        raise UserError(
            f"there are several champions in '{runs.root}' ({', '.join(known)}); name one: "
            f"chorale champion {command} NAME"
        )
    return ChampionOptions(names[0] if names else known[0], runs, given, seen)


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
