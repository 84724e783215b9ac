"""`chorale sweep [SWEEP.yaml] [--key.sub value ...] [--resume [--take-over]]`."""

import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search.resolve import Resolved

DEFAULT = "demo"
FLAGS = ("--resume", "--take-over")


def run(words: Sequence[str]) -> int:
    """Runs the command; gives its exit code."""
    if any(word in ("-h", "--help") for word in words):
        from search.commands.sweep_help import sweep_help

        print(sweep_help())
        return 0
    from search import yaml_file
    from search.resolve import resolve_file

    rest = [word for word in words if word not in FLAGS]
    file = rest.pop(0) if rest and not rest[0].startswith("--") else DEFAULT
    resolved = resolve_file(file, yaml_file.overrides(rest))
    again = ["chorale", "sweep", *(w for w in words if w not in FLAGS), "--resume"]
    return carry_out(
        resolved,
        resume="--resume" in words,
        take_over="--take-over" in words,
        again=shlex.join(again),
    )


def carry_out(resolved: "Resolved", *, resume: bool, take_over: bool, again: str) -> int:
    """Runs a sweep and shows what it found; gives the exit code. `again` is what goes on with it.

    Raises:
        UserError, ClusterError: what the user can mend.
        KeyboardInterrupt: interrupted; the study can be resumed.
    """
    from rich.console import Console

    from search import interrupts, report
    from search.sweep import run_sweep

    # A log file has no width of its own; 80 columns would cut the table at the end.
    width = None if sys.stdout.isatty() else 120
    console = Console(width=width, highlight=False)
    try:
        found = run_sweep(resolved, resume=resume, take_over=take_over, console=console)
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        if not (isinstance(error, KeyboardInterrupt) or interrupts.received()):
            raise
        console.print(f"\nInterrupted; every finished trial is kept. Go on with:  {again}")
        raise
    report.show(found, console, folder=str(resolved.sweep.paths.root))
    return 0
