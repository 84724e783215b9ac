"""The words of a command about jobs: `[NAME] [--address URL] [--allow-no-token] ...`."""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chorale.datasets.errors import UserError, unknown

if TYPE_CHECKING:
    from chorale.cluster.jobs.jobs import Job, Jobs

OPTIONS = """\
  --address URL     the cluster's job server; else $RAY_API_SERVER_ADDRESS, else
                    http://127.0.0.1:8265
  --allow-no-token  even if the cluster asks nobody for a token"""
DEFAULT_ADDRESS = "http://127.0.0.1:8265"
ALLOW = "allow-no-token"


@dataclass(frozen=True)
class JobWords:
    """A name, if one was given, the cluster, the flags, and the words that are somebody else's."""

    name: str | None
    address: str
    flags: Collection[str]
    rest: tuple[str, ...]

    def open(self) -> "Jobs":
        """The jobs of that cluster.

        Raises:
            ClusterError: it does not answer, or is not to be used.
        """
        from chorale.cluster.jobs.jobs import Jobs

        return Jobs(self.address, allow_no_token=ALLOW in self.flags)

    def named(self, command: str) -> str:
        """The name.

        Raises:
            UserError: none was given.
        """
        if self.name is None:
            raise UserError(
                f"expected the name of a job or a study; type: chorale {command} NAME "
                f"(chorale jobs list shows them all)"
            )
        return self.name


def job_words(words: Sequence[str], *, flags: Collection[str] = (), keys: bool = False) -> JobWords:
    """Reads what follows a command's name.

    Args:
        words: what was typed.
        flags: the command's own words without a value.
        keys: whether other `--key value` words are let through, as a sweep's.

    Raises:
        UserError: an option that there is not or that lacks its value, or a second name.
    """
    known = {ALLOW, *flags}
    names: list[str] = []
    seen: set[str] = set()
    others: list[str] = []
    address = os.environ.get("RAY_API_SERVER_ADDRESS") or DEFAULT_ADDRESS
    rest = list(words)
    while rest:
        word = rest.pop(0)
        option, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--"):
            names.append(word)
        elif option in known and not equals:
            seen.add(option)
        elif option == "address":
            if not equals and (not rest or rest[0].startswith("--")):
                raise UserError("--address needs a value: --address http://HOST:8265")
            address = value if equals else rest.pop(0)
        elif keys:
            others.append(word)
            if not equals and rest and not rest[0].startswith("--"):
                others.append(rest.pop(0))
        else:
            raise unknown("option", word, ["--address", *(f"--{one}" for one in known)])
    if len(names) > 1:
        raise UserError(f"expected one name, but got: {' '.join(names)}")
    return JobWords(names[0] if names else None, address, seen, tuple(others))


def follow(jobs: "Jobs", name: str) -> int:
    """Shows what a job prints until it has ended; gives its driver's exit code.

    Ctrl-C lets go of it and leaves it running.
    """
    import sys

    from rich.console import Console

    from chorale.search.console.follow import Follower
    from chorale.search.interrupts import INTERRUPTED

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    try:
        with Follower(console) as show:
            job = jobs.follow(name, show)
    except KeyboardInterrupt:
        print(f"\nJob {name} goes on. Follow it again with:  {again(jobs, 'logs', name)} --follow")
        print(f"or stop it with:  {again(jobs, 'stop', name)}")
        return INTERRUPTED
    print(_end(job))
    return job.code


def again(jobs: "Jobs", what: str, name: str) -> str:
    """The command that does something with a job."""
    return f"chorale jobs {what} {name} --address {jobs.url}"


def _end(job: "Job") -> str:
    if job.state == "succeeded":
        return f"job {job.name} succeeded"
    if job.state == "stopped":
        return f"job {job.name} was stopped; go on with it: submit the same again"
    if job.exit_code is None:  # its driver never ran: only the message says why
        return f"job {job.name} failed: {job.message.strip()}"
    return f"job {job.name} failed with exit code {job.exit_code}; its last lines say why"
