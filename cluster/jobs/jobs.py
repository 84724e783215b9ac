"""Jobs on a cluster that runs somewhere else: submit, list, follow, stop, through Ray's job API.

A job is named after its study. Ray refuses a name that it has seen, and that is what makes a
second submit of a running study fail wherever it comes from; one that ended is followed by
`STUDY~2`, which no study can be called.
"""

import asyncio
import contextlib
import logging
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from chorale.cluster.base import ClusterError
from chorale.cluster.connection import tokens
from chorale.cluster.connection.addresses import jobs_url, refuse_open, server_asks
from chorale.cluster.environment import environment

STUDY = "chorale_study"
"""The key of a job's metadata that holds its study."""

STOP_WAIT_S = 60
"""How long a driver may take to leave everything in order; Ray gives it 3 s unless told."""

TALKATIVE = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)
"""Loggers of Ray's client that tell at INFO what we tell ourselves."""

POLL_S = 0.5
PATIENCE_S = 60.0
"""How long a cluster may take to be ready, and its job server be out of reach while a job is
followed."""
BETWEEN = "~"
STOPPED_CODE = 130
"""The exit code of a job that somebody stopped: as that of an interrupted command."""


@dataclass(frozen=True)
class Job:
    """One job. `state` is "pending", "running", "stopped", "succeeded" or "failed".

    `exit_code` is its driver's own, or None while it runs or where it never started; times are
    seconds since 1970.
    """

    name: str
    study: str
    state: str
    began_s: float | None
    ended_s: float | None
    exit_code: int | None
    message: str
    command: str

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.state in ("pending", "running")

    @property
    def code(self) -> int:
        """The exit code that a command which waited for it should give."""
        if self.state == "stopped":
            return STOPPED_CODE
        if self.exit_code is not None:
            return self.exit_code
        return 0 if self.state == "succeeded" else 1


class Jobs:
    """The jobs of one cluster.

    Args:
        address: of its job server: `http://HOST:8265`, or `ray://HOST:10001` for its usual port.
        allow_no_token: use also one that asks nobody for a token and that others can reach.

    Raises:
        ClusterError: nobody answers there, it is open to all, or its token is not here or wrong.
    """

    def __init__(self, address: str, *, allow_no_token: bool = False) -> None:
        self.url = jobs_url(address)
        try:
            asks = server_asks(self.url)
        except ConnectionError as error:
            raise ClusterError(
                f"no job server of a Ray cluster answers at address={self.url!r} ({error}); is it "
                f"the head's dashboard port (8265), and open from here? On the head: ray status; "
                f"or reach it with: ssh -N -L 8265:localhost:8265 HEAD"
            ) from error
        host = urlsplit(self.url).hostname or ""
        flag = "--allow-no-token"
        refuse_open(self.url, host, asks=asks, allow_no_token=allow_no_token, flag=flag)
        tokens.shut_default()
        self._client = _client(self.url, asks=asks)

    def submit(self, study: str, words: Sequence[str], *, folder: Path) -> str:
        """Starts a job for a study; gives its name.

        Args:
            study: what it is named after.
            words: the command that it runs, in the folder.
            folder: what it brings along.

        Raises:
            ClusterError: a job of this study has not ended, or the cluster refuses this one.
        """
        before = self.of(study)
        if before and before[-1].alive:
            raise self._taken(study, before[-1].name)
        name = study if not before else f"{study}{BETWEEN}{len(before) + 1}"
        # Whoever may look at the cluster sees all of this: no secret may ever stand in it.
        runtime_env = {
            "working_dir": str(folder),
            "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S)},
        }
        ends = time.monotonic() + PATIENCE_S
        while True:
            try:
                self._client.submit_job(
                    submission_id=name,
                    entrypoint=shlex.join(words),
                    runtime_env=runtime_env,
                    metadata={STUDY: study},
                )
                return name
            except Exception as error:  # Ray raises no other type for what its server refused
                if "already exists" in str(error):  # somebody was faster by a moment
                    raise self._taken(study, name) from error
                # The server is there sooner than those on the nodes that start the jobs.
                if "No available agent" not in str(error) or time.monotonic() > ends:
                    raise _refused(self.url, error) from error
            time.sleep(POLL_S)

    def all(self) -> list[Job]:
        """Every job that was submitted by Chorale, in the order of their starts."""
        with self._asking():
            listed = self._client.list_jobs()
        found = [_job(one) for one in listed if one.submission_id and STUDY in (one.metadata or {})]
        return sorted(found, key=lambda job: (job.began_s or 0.0, len(job.name), job.name))

    def of(self, study: str) -> list[Job]:
        """The jobs of one study, in the order of their starts."""
        return [job for job in self.all() if job.study == study]

    def find(self, name: str) -> Job:
        """The job of that name, or the newest of the study of that name.

        Raises:
            ClusterError: there is none.
        """
        every = self.all()
        found = [job for job in every if job.name == name] or [j for j in every if j.study == name]
        if not found:
            known = ", ".join(job.name for job in every) or "none yet"
            raise ClusterError(
                f"there is no job '{name}' at {self.url} (there are: {known}); "
                f"see: chorale jobs list --address {self.url}"
            )
        # A study's first job has its very name; asked for the study, the newest is meant.
        same = [job for job in every if job.study == found[-1].study]
        return same[-1] if name == found[-1].study else found[-1]

    def log(self, name: str) -> str:
        """All that a job has printed so far."""
        with self._asking():
            return str(self._client.get_job_logs(quote(name, safe="")))

    def follow(self, name: str, show: Callable[[str], None]) -> Job:
        """Hands what a job prints to `show`, piece by piece, until it has ended; gives the job.

        A connection that breaks is made again, and nothing is shown twice.

        Raises:
            ClusterError: the cluster is gone.
            KeyboardInterrupt: at once; the job goes on.
        """
        shown, heard = 0, time.monotonic()
        while True:
            shown = asyncio.run(self._tail(name, show, skip=shown))
            try:
                job = self.find_exactly(name)
                heard = time.monotonic()
                if not job.alive:
                    if rest := self.log(name)[shown:]:
                        show(rest)
                    return job
            except ClusterError:
                if time.monotonic() - heard > PATIENCE_S:
                    raise
            time.sleep(POLL_S)

    def stop(self, name: str) -> Job:
        """Asks a job to stop, and waits until it has; gives the job.

        Raises:
            ClusterError: there is none of that name, or it is still there after a long wait.
        """
        with self._asking():
            self._client.stop_job(quote(name, safe=""))
        ends = time.monotonic() + 2 * STOP_WAIT_S
        while (job := self.find_exactly(name)).alive:
            if time.monotonic() > ends:
                raise ClusterError(
                    f"job '{name}' has not stopped within {2 * STOP_WAIT_S} s; look at it with: "
                    f"chorale jobs logs {name} --address {self.url}"
                )
            time.sleep(POLL_S)
        return job

    def find_exactly(self, name: str) -> Job:
        """The job of that name.

        Raises:
            ClusterError: there is none, or the cluster is gone.
        """
        with self._asking():
            return _job(self._client.get_job_info(quote(name, safe="")))

    async def _tail(self, name: str, show: Callable[[str], None], *, skip: int) -> int:
        """Shows what comes after the first `skip` characters; gives how many there were in all."""
        import aiohttp

        seen = 0
        # Where the connection breaks, the caller asks how things are.
        with contextlib.suppress(RuntimeError, OSError, aiohttp.ClientError):
            async for piece in self._client.tail_job_logs(quote(name, safe="")):
                fresh = piece[max(0, skip - seen) :]
                seen += len(piece)
                if fresh:
                    show(fresh)
        return max(skip, seen)

    def _taken(self, study: str, name: str) -> ClusterError:
        return ClusterError(
            f"study '{study}' is being run by job '{name}' already; follow it with: "
            f"chorale jobs logs {name} --follow --address {self.url}; "
            f"or stop it first: chorale jobs stop {name} --address {self.url}"
        )

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # Ray's client raises what its HTTP library raises, too
            raise _refused(self.url, error) from error


def _client(url: str, *, asks: bool) -> Any:
    """Ray's client of a job server, with the token in its headers where one is asked for."""
    from ray.job_submission import JobSubmissionClient

    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
    # These two win over what is asked for.
    variables = {"RAY_ADDRESS": "", "RAY_API_SERVER_ADDRESS": "", **(tokens.ON if asks else {})}
    with environment(variables):
        tokens.read_again()
        try:
            return JobSubmissionClient(url)
        except Exception as error:  # its own and those of the HTTP library
            raise _refused(url, error) from error


def _job(details: Any) -> Job:
    name = str(details.submission_id)
    began, ended = details.start_time, details.end_time
    return Job(
        name=name,
        study=(details.metadata or {}).get(STUDY, name),
        state=str(details.status).lower(),
        began_s=began / 1000 if began else None,
        ended_s=ended / 1000 if ended else None,
        exit_code=details.driver_exit_code,
        message=details.message or "",
        command=details.entrypoint,
    )


def _refused(url: str, error: Exception) -> ClusterError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if "Authentication failed" in lines[0]:
        return ClusterError(
            f"the cluster at address={url!r} refuses the token that is here; copy its "
            f"~/.ray/auth_token to this machine, or: export RAY_AUTH_TOKEN_PATH=FILE"
        )
    return ClusterError(f"the job server at {url} says: {lines[0]:.300}")
