"""Argument parsing of commands about a study: `[STUDY] [--runs FOLDER] [--store URL] ...`.

Imports neither torch nor Optuna, so that commands that only read the ledger start fast.
"""

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from chorale.datasets.errors import UserError, unknown_name_error
from chorale.search.paths import Runs

if TYPE_CHECKING:
    from rich.console import Console

    from chorale.search.ledger.reader import LedgerReader

STUDY_STYLES = {
    "running": "[green]running[/]",
    "interrupted": "[yellow]interrupted[/]",
    "complete": "complete",
}
"""State -> its text with rich markup."""


@dataclass(frozen=True)
class StudyOptions:
    """The study's name if given, the options with their values, and the flags."""

    study: str | None
    options: Mapping[str, str]
    flags: Collection[str]

    @property
    def runs_given(self) -> str:
        """The folder or bucket of all studies, as it was typed."""
        return self.options.get("runs", "runs")

    @cached_property
    def runs(self) -> Runs:
        """The folder of all studies; for a bucket, this machine's copy, with the study downloaded.

        Raises:
            UserError: the bucket cannot be read.
        """
        from chorale.search.paths import folder_of, is_bucket
        from chorale.search.sweep.bucket import Bucket

        if is_bucket(self.runs_given):
            Bucket(self.runs_given).fetch(self.study)
        return Runs(folder_of(self.runs_given))

    def open(self) -> "LedgerReader":
        """The ledger, for reading.

        Raises:
            UserError: there is none, or it cannot be read.
        """
        from chorale.search.ledger.reader import LedgerReader

        return LedgerReader(self.options.get("store") or self.runs.ledger_url)

    def refuse_bucket(self, verb: str) -> None:
        """Refuses studies in a bucket, of which this machine has only a copy.

        Raises:
            UserError: `runs` is a bucket.
        """
        from chorale.search.paths import is_bucket

        if is_bucket(self.runs_given):
            raise UserError(
                f"studies in a bucket cannot be {verb} from here, but got --runs "
                f"{self.runs_given}; do it in the bucket itself"
            )

    def require_name(self, command: str) -> str:
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


def parse_study_options(
    args: Sequence[str], *, options: Collection[str] = (), flags: Collection[str] = ()
) -> StudyOptions:
    """Parses the arguments after a command's name; `options` take a value, `flags` do not.

    Raises:
        UserError: an unknown option, a missing value, or a second name.
    """
    studies, given, seen = split_arguments(args, options=("runs", "store", *options), flags=flags)
    if len(studies) > 1:
        raise UserError(f"expected the name of one study, but got {' '.join(studies)}")
    return StudyOptions(studies[0] if studies else None, given, seen)


def split_arguments(
    args: Sequence[str], *, options: Collection[str], flags: Collection[str] = ()
) -> tuple[list[str], dict[str, str], list[str]]:
    """Splits arguments into positional ones, options with their values, and flags.

    Raises:
        UserError: an unknown option, or a missing value.
    """
    names: list[str] = []
    given: dict[str, str] = {}
    rest, seen = list(args), []
    while rest:
        arg = rest.pop(0)
        if not arg.startswith("--"):
            names.append(arg)
            continue
        name, equals, value = arg[2:].partition("=")
        if name in flags and not equals:
            seen.append(name)
        elif name not in options:
            raise unknown_name_error("option", arg, [f"--{one}" for one in (*options, *flags)])
        else:
            if not equals:
                if not rest or rest[0].startswith("--"):
                    raise UserError(f"--{name} needs a value: --{name} {name.upper()}")
                value = rest.pop(0)
            given[name] = value
    return names, given, seen


def console() -> "Console":
    """The console of a command; 160 columns in a log file, which has no width of its own."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 160, highlight=False)
