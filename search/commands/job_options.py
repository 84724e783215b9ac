"""Argument parsing of the job commands: `[NAME] [--address URL] [--allow-no-token] ...`."""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chorale.datasets.errors import UserError, unknown_name_error

if TYPE_CHECKING:
    from chorale.cluster.jobs.jobs import RayJob, RayJobs

JOB_OPTIONS_HELP = """\
  --address URL     the cluster's job server; else $RAY_API_SERVER_ADDRESS, else
                    http://127.0.0.1:8265
  --allow-no-token  use the cluster even if it requires no token"""
DEFAULT_ADDRESS = "http://127.0.0.1:8265"
ALLOW_NO_TOKEN = "allow-no-token"


@dataclass(frozen=True)
class JobOptions:
    """A job's or study's name if given, the cluster's address, the flags, and other arguments."""

    name: str | None
    address: str
    flags: Collection[str]
    rest: tuple[str, ...]

    def open(self) -> "RayJobs":
        """The jobs of that cluster.

        Raises:
            ClusterError: the cluster does not answer, or requires no token.
        """
        from chorale.cluster.jobs.jobs import RayJobs

        return RayJobs(self.address, allow_no_token=ALLOW_NO_TOKEN in self.flags)

    def require_name(self, command: str) -> str:
        """The name of the job or study.

        Raises:
            UserError: none was given.
        """
        if self.name is None:
            raise UserError(
                f"expected the name of a job or a study; type: chorale {command} NAME "
                f"(chorale jobs list shows them all)"
            )
        return self.name


def parse_job_options(
    args: Sequence[str], *, flags: Collection[str] = (), keys: bool = False
) -> JobOptions:
    """Parses the arguments after a command's name.

    Args:
        args: the arguments.
        flags: the command's own options without a value.
        keys: whether other `--key value` pairs, the sweep's keys, are allowed and put in `rest`.

    Raises:
        UserError: an unknown option, a missing value, or a second name.
    """
    known = {ALLOW_NO_TOKEN, *flags}
    names: list[str] = []
    seen: set[str] = set()
    others: list[str] = []
    address = os.environ.get("RAY_API_SERVER_ADDRESS") or DEFAULT_ADDRESS
    rest = list(args)
    while rest:
        arg = rest.pop(0)
        option, equals, value = arg.removeprefix("--").partition("=")
        if not arg.startswith("--"):
            names.append(arg)
        elif option in known and not equals:
            seen.add(option)
        elif option == "address":
            if not equals and (not rest or rest[0].startswith("--")):
                raise UserError("--address needs a value: --address http://HOST:8265")
            address = value if equals else rest.pop(0)
        elif keys:
            others.append(arg)
            if not equals and rest and not rest[0].startswith("--"):
                others.append(rest.pop(0))
        else:
            raise unknown_name_error("option", arg, ["--address", *(f"--{one}" for one in known)])
    if len(names) > 1:
        raise UserError(f"expected one name, but got: {' '.join(names)}")
    return JobOptions(names[0] if names else None, address, seen, tuple(others))


def follow_job(jobs: "RayJobs", name: str) -> int:
    """Shows a job's output until it ends; returns its driver's exit code.

    Ctrl-C stops following; the job keeps running.
    """
    import sys

    from rich.console import Console

    from chorale.search.console.follow import LogFollower
    from chorale.search.interrupts import EXIT_INTERRUPTED

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    try:
        with LogFollower(console) as show:
            job = jobs.follow(name, show)
    except KeyboardInterrupt:
        logs, stop = (jobs_command(jobs, what, name) for what in ("logs", "stop"))
        print(f"\nJob {name} keeps running. Follow it again with:  {logs} --follow")
        print(f"or stop it with:  {stop}")
        return EXIT_INTERRUPTED
    print(_end(job))
    return job.command_exit_code


def jobs_command(jobs: "RayJobs", what: str, name: str) -> str:
    """The command line of `chorale jobs WHAT` for a job."""
    return f"chorale jobs {what} {name} --address {jobs.url}"


def _end(job: "RayJob") -> str:
    if job.state == "succeeded":
        return f"job {job.name} succeeded"
    if job.state == "stopped":
        return f"job {job.name} was stopped; to resume it, submit the same again"
    if job.exit_code is None:  # its driver never ran: only the message holds the reason
        return f"job {job.name} failed: {job.message.strip()}"
    return (
        f"job {job.name} failed with exit code {job.exit_code}; see its last lines for the reason"
    )
