"""The words of a command about studies: `[STUDY] [--runs FOLDER] [--store URL] ...`.

They answer at once, for they read the ledger alone and import neither torch nor Optuna.
"""

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from chorale.datasets.errors import UserError, unknown
from chorale.search.paths import Runs, StudyPaths

if TYPE_CHECKING:
    from rich.console import Console

    from chorale.search.ledger.reader import LedgerReader, StudyInfo


@dataclass(frozen=True)
class StudyWords:
    """The study that was named, if any, the options with their values, and the flags."""

    study: str | None
    options: Mapping[str, str]
    flags: Collection[str]

    @property
    def runs_given(self) -> str:
        """The folder or bucket of all studies, as it was typed."""
        return self.options.get("runs", "runs")

    @cached_property
    def runs(self) -> Runs:
        """The folder of all studies; of a bucket, this machine's copy with what is asked about.

        Raises:
            UserError: the bucket cannot be read.
        """
        from chorale.search.paths import folder_of, is_bucket
        from chorale.search.sweep.bucket import Bucket

        if is_bucket(self.runs_given):
            Bucket(self.runs_given).fetch(self.study)
        return Runs(folder_of(self.runs_given))

    def open(self) -> "LedgerReader":
        """The ledger.

        Raises:
            UserError: there is none, or it cannot be read.
        """
        from chorale.search.ledger.reader import LedgerReader

        return LedgerReader(self.options.get("store") or self.runs.ledger_url)

    def named(self, command: str) -> str:
        """The study's name.

        Raises:
            UserError: none was given.
        """
        if self.study is None:
            raise UserError(
                f"expected the name of a study; type: chorale {command} STUDY "
                f"(chorale list shows them all)"
            )
        return self.study


def study_words(
    words: Sequence[str], *, options: Collection[str] = (), flags: Collection[str] = ()
) -> StudyWords:
    """Reads what follows a command's name; `options` take a value, `flags` do not.

    Raises:
        UserError: an option that there is not or that lacks its value, or a second name.
    """
    studies, given, seen = split_words(words, options=("runs", "store", *options), flags=flags)
    if len(studies) > 1:
        raise UserError(f"expected the name of one study, but got {' '.join(studies)}")
    return StudyWords(studies[0] if studies else None, given, seen)


def split_words(
    words: Sequence[str], *, options: Collection[str], flags: Collection[str] = ()
) -> tuple[list[str], dict[str, str], list[str]]:
    """Plain words, options with their values, and flags.

    Raises:
        UserError: an option that there is not or that lacks its value.
    """
    names: list[str] = []
    given: dict[str, str] = {}
    rest, seen = list(words), []
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            names.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        if name in flags and not equals:
            seen.append(name)
        elif name not in options:
            raise unknown("option", word, [f"--{one}" for one in (*options, *flags)])
        else:
            if not equals:
                if not rest or rest[0].startswith("--"):
                    raise UserError(f"--{name} needs a value: --{name} {name.upper()}")
                value = rest.pop(0)
            given[name] = value
    return names, given, seen


def about(info: "StudyInfo", paths: StudyPaths) -> Mapping[str, Any]:
    """What a study's sweep said of itself; an older ledger has it in the sweep's file alone."""
    if info.about or not paths.sweep_yaml.is_file():
        return info.about
    from chorale.search.config.yaml_file import read_yaml

    try:
        sweep = read_yaml(paths.sweep_yaml)
    except UserError:
        return {}
    return {
        "dataset": (sweep.get("dataset") or {}).get("name"),
        "objective": (sweep.get("search") or {}).get("objective"),
        "budget": sweep.get("budget") or {},
    }


def console() -> "Console":
    """Where a command prints; a log file has no width of its own, and 80 columns are too few."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 160, highlight=False)
