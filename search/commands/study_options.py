"""The study of a command, and the ledger that has it: `[STUDY] [--runs FOLDER] [--store URL]`.

Imports neither torch nor Optuna, so that commands that only read the ledger start fast.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from chorale.datasets.errors import UserError
from chorale.search.commands.parameters import StudyName, runs_option, store_option
from chorale.search.paths import Runs

if TYPE_CHECKING:
    from chorale.search.ledger.reader import LedgerReader

STUDY_STYLES = {
    "running": "[green]running[/]",
    "interrupted": "[yellow]interrupted[/]",
    "complete": "complete",
}
"""State -> its text with rich markup."""


@dataclass(frozen=True)
class StudyOptions:
    """The study's name if given, and where studies are."""

    study: str | None = None
    runs_given: str = "runs"
    """the folder or bucket of all studies, as it was typed"""
    store: str | None = None
    """the ledger's URL, where it is not in that folder"""

    @property
    def name(self) -> str:
        """The study's name, of a command that requires one."""
        if self.study is None:
            raise ValueError("the command does not require a study")
        return self.study

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

        return LedgerReader(self.store or self.runs.ledger_url)

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


def study_options(*, required: bool = True) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Decorator: the function's first argument is a `StudyOptions`: STUDY, --runs, --store."""
    study = click.argument("study", required=required, type=StudyName())
    return lambda function: study(ledger_options(function))


def ledger_options(function: Callable[..., int]) -> Callable[..., int]:
    """Decorator: as `study_options`, for a command that takes no STUDY of its own."""

    @functools.wraps(function)
    def run(*, runs: str, store: str | None, study: str | None = None, **more: Any) -> int:
        return function(StudyOptions(study, runs, store), **more)

    return runs_option(store_option(run))
