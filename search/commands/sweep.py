"""`chorale sweep [SWEEP.yaml] [--key.sub value ...] [--resume | --continue] [--take-over]`."""

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from chorale.search.commands.study_words import console

if TYPE_CHECKING:
    from chorale.search.config.resolve import Resolved

DEFAULT = "demo"
FLAGS = ("--resume", "--continue", "--take-over")


def run(words: Sequence[str]) -> int:
    """Runs the command; gives its exit code."""
    if any(word in ("-h", "--help") for word in words):
        from chorale.search.commands.sweep_help import sweep_help

        print(sweep_help())
        return 0
    from chorale.cluster.connection.addresses import is_remote
    from chorale.cluster.environment import in_job
    from chorale.search.config import yaml_file
    from chorale.search.config.resolve import resolve_file

    rest = [word for word in words if word not in FLAGS]
    file = rest.pop(0) if rest and not rest[0].startswith("--") else DEFAULT
    resolved = resolve_file(file, yaml_file.overrides(rest))
    address = resolved.sweep.cluster.address
    if is_remote(address):
        return _send(resolved, str(address), file, rest)
    kept = [word for word in words if word not in FLAGS]
    again = shlex.join(["chorale", "sweep", *kept, "--resume"])
    return carry_out(
        resolved,
        resume=None if "--continue" in words else "--resume" in words,
        take_over="--take-over" in words,
        again="submit the same again" if in_job() else again,
    )


def _send(resolved: "Resolved", address: str, file: str, rest: Sequence[str]) -> int:
    """A sweep is driven from inside its cluster: it is sent there, and followed."""
    from chorale.search.commands.job_words import ALLOW, JobWords
    from chorale.search.commands.submit import send

    flags = [ALLOW] if resolved.sweep.cluster.allow_no_token else []
    return send(resolved, JobWords(None, address, flags, tuple(rest)), file=file, wait=True)


def carry_out(resolved: "Resolved", *, resume: bool | None, take_over: bool, again: str) -> int:
    """Runs a sweep and shows what it found; gives the exit code. `again` is what goes on with it.

    `resume` is None for a sweep that goes on where it exists, and else begins.

    Raises:
        UserError, ClusterError: what the user can mend.
        KeyboardInterrupt: interrupted; the study can be resumed.
    """
    from chorale.search import interrupts
    from chorale.search.sweep.run import run_sweep

    shown = console()
    try:
        found = run_sweep(resolved, resume=resume, take_over=take_over, console=shown)
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        if not (isinstance(error, KeyboardInterrupt) or interrupts.received()):
            raise
        shown.print(f"\nInterrupted; every finished trial is kept. Go on with:  {again}")
        raise
    from chorale.search.report import report

    report.show(found, shown, folder=str(resolved.sweep.paths.root))
    return 0
