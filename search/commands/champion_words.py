"""The words of the commands about champions: `[NAME] [--runs FOLDER]`."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.datasets.errors import UserError, unknown
from chorale.search.commands.study_words import split_words
from chorale.search.paths import Runs

if TYPE_CHECKING:
    from chorale.search.champion.registry.registry import Shelf

ABOUT = (
    "NAME is a nightly file's, or what its `champion` says; it may be left out where there is one."
)


@dataclass(frozen=True)
class ChampionWords:
    """Which champion is meant, and the options."""

    name: str
    runs: Runs
    options: dict[str, str]

    @property
    def shelf(self) -> "Shelf":
        """Its bundles."""
        from chorale.search.champion.registry.registry import Shelf

        return Shelf(self.runs.champion(self.name))


def champion_words(
    words: Sequence[str], *, command: str, options: Collection[str] = ()
) -> ChampionWords:
    """Reads what follows `chorale champion COMMAND`.

    Raises:
        UserError: an option that there is not, or no champion or several and none was named.
    """
    names, given, _ = split_words(words, options=("runs", *options))
    if len(names) > 1:
        raise UserError(f"expected the name of one champion, but got {' '.join(names)}")
    runs = Runs(Path(given.get("runs", "runs")).expanduser())
    known = known_champions(runs)
    if names and names[0] not in known:
        if not known:
            raise _none(runs)
        raise unknown("champion", names[0], known)
    if not names and len(known) != 1:
        if not known:
            raise _none(runs)
        raise UserError(
            f"there are several champions in '{runs.root}' ({', '.join(known)}); name one: "
            f"chorale champion {command} NAME"
        )
    return ChampionWords(names[0] if names else known[0], runs, given)


def known_champions(runs: Runs) -> list[str]:
    """The names under which there is a champion."""
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
