"""The consoles of a command: of its results, and of its progress."""

import os
import sys
from typing import TYPE_CHECKING

from chorale.search.commands.command import command_line

if TYPE_CHECKING:
    from rich.console import Console

LOG_WIDTH = 160
"""Characters in a line where the output is a file, which has no width of its own."""


def console() -> "Console":
    """The console for results; it is as wide as the terminal, or as COLUMNS says."""
    from rich.console import Console

    from chorale.search.console.log_file import logged

    has_width = sys.stdout.isatty() or "COLUMNS" in os.environ
    return logged(Console(width=None if has_width else LOG_WIDTH, highlight=False))


def progress_console(*, to_stderr: bool = False) -> "Console":
    """The console for progress, which prints nothing with --quiet.

    On standard error where standard output is for programs.
    """
    found = console()
    found.stderr, found.quiet = to_stderr, command_line().quiet
    return found
