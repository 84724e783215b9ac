"""The job server of a cluster, in the job commands: `[--address URL] [--allow-no-token]`."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from chorale.search.commands.parameters import flag

if TYPE_CHECKING:
    from chorale.cluster.jobs.jobs import RayJob, RayJobs

job_argument = click.argument("name", help="A job, or a study, which stands for its newest job.")
follow_option = flag(
    "--follow",
    "Show the job's output until it ends, and exit with its code; Ctrl-C stops following, not the "
    "job.",
)


@dataclass(frozen=True)
class JobServer:
    """The address of a cluster's job server, and whether it may be one without a token."""

    address: str
    allow_no_token: bool = False

    def open(self) -> "RayJobs":
        """The jobs of that cluster.

        Raises:
            ClusterError: the cluster does not answer, or requires no token.
        """
        from chorale.cluster.jobs.jobs import RayJobs

        return RayJobs(self.address, allow_no_token=self.allow_no_token)


def job_options(function: Callable[..., int]) -> Callable[..., int]:
    """Decorator: the function's first argument is a `JobServer`."""

    @functools.wraps(function)
    def run(*, address: str, allow_no_token: bool, **more: Any) -> int:
        return function(JobServer(address, allow_no_token), **more)

    chosen = click.option(
        "--address",
        envvar="RAY_API_SERVER_ADDRESS",
        show_envvar=True,
        default="http://127.0.0.1:8265",
        metavar="URL",
        help="The cluster's job server.",
    )
    return chosen(flag("--allow-no-token", "Use the cluster even if it requires no token.")(run))


def follow_job(jobs: "RayJobs", name: str) -> int:
    """Shows a job's output until it ends; returns its driver's exit code.

    Ctrl-C stops following; the job keeps running.
    """
    from chorale.search.commands.console import console
    from chorale.search.console.follow import LogFollower
    from chorale.search.interrupts import EXIT_INTERRUPTED

    try:
        with LogFollower(console()) as show:
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
