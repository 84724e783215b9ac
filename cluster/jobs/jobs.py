"""Ray Jobs API client: submits, lists, follows and stops jobs on a remote cluster.

A job is named after its study. Ray refuses a name that was used before, so a second submission of a
running study fails, from whatever machine it comes. After a job that has ended the next one is
called `STUDY~2`, which is no valid name of a study.
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
from chorale.cluster.connection.addresses import (
    job_server_requires_token,
    job_server_url,
    require_authentication,
)
from chorale.cluster.environment import set_variables

STUDY_KEY = "chorale_study"
"""The key of the study's name in a job's metadata."""

STOP_WAIT_S = 60
"""How long a driver may take to clean up when stopped; Ray's default is 3 s."""

NOISY_LOGGERS = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)
"""Loggers of Ray's client whose INFO messages repeat our own."""

POLL_S = 0.5
CLUSTER_TIMEOUT_S = 60.0
"""How long a cluster may take to be ready for a job, and how long its job server may be unreachable
while a job is followed."""
ATTEMPT_SEPARATOR = "~"
STOPPED_EXIT_CODE = 130
"""The exit code for a job that was stopped: that of an interrupted command."""


@dataclass(frozen=True)
class RayJob:
    """One job. `state` is "pending", "running", "stopped", "succeeded" or "failed".

    `exit_code` is its driver's, or None while it runs or if it never started; times are seconds
    since 1970.
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
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self.state in ("pending", "running")

    @property
    def command_exit_code(self) -> int:
        """The exit code for a command that waited for the job."""
        if self.state == "stopped":
            return STOPPED_EXIT_CODE
        if self.exit_code is not None:
            return self.exit_code
        return 0 if self.state == "succeeded" else 1


class RayJobs:
    """The jobs of one cluster.

    Args:
        address: of its job server: `http://HOST:8265`, or `ray://HOST:10001` for the default port.
        allow_no_token: also use one that requires no token and that other machines can reach.

    Raises:
        ClusterError: there is no answer, it requires no token, or its token is missing here or
            wrong.
    """

    def __init__(self, address: str, *, allow_no_token: bool = False) -> None:
        self.url = job_server_url(address)
        try:
            requires_token = job_server_requires_token(self.url)
        except ConnectionError as error:
            raise ClusterError(
                f"no job server of a Ray cluster answers at address={self.url!r} ({error}); is it "
                f"the head's dashboard port (8265), and open from here? On the head: ray status; "
                f"or reach it with: ssh -N -L 8265:localhost:8265 HEAD"
            ) from error
        host = urlsplit(self.url).hostname or ""
        require_authentication(
            self.url,
            host,
            requires_token=requires_token,
            allow_no_token=allow_no_token,
            flag="--allow-no-token",
        )
        tokens.restrict_default_file()
        self._client = _client(self.url, requires_token=requires_token)

    def submit(self, study: str, command: Sequence[str], *, folder: Path) -> str:
        """Starts a job for a study; returns its name.

        Args:
            study: the study that it is named after.
            command: what it runs, in the folder.
            folder: its working directory, which is uploaded.

        Raises:
            ClusterError: a job of this study is still running, or the cluster refuses this one.
        """
        before = self.jobs_of(study)
        if before and before[-1].is_alive:
            raise self._running_error(study, before[-1].name)
        name = study if not before else f"{study}{ATTEMPT_SEPARATOR}{len(before) + 1}"
        # Every user of the cluster can read this, so it must never hold a secret.
        runtime_env = {
            "working_dir": str(folder),
            "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S)},
        }
        ends = time.monotonic() + CLUSTER_TIMEOUT_S
        while True:
            try:
                self._client.submit_job(
                    submission_id=name,
                    entrypoint=shlex.join(command),
                    runtime_env=runtime_env,
                    metadata={STUDY_KEY: study},
                )
                return name
            except Exception as error:  # Ray raises a plain Exception for what its server refuses
                if "already exists" in str(error):  # submitted elsewhere in the meantime
                    raise self._running_error(study, name) from error
                # The server is ready before the agents on the nodes, which start the jobs.
                if "No available agent" not in str(error) or time.monotonic() > ends:
                    raise _refused(self.url, error) from error
            time.sleep(POLL_S)

    def all_jobs(self) -> list[RayJob]:
        """All jobs that Chorale submitted, in the order of their starts."""
        with self._translate_errors():
            listed = self._client.list_jobs()
        found = [
            _job(one) for one in listed if one.submission_id and STUDY_KEY in (one.metadata or {})
        ]
        return sorted(found, key=lambda job: (job.began_s or 0.0, len(job.name), job.name))

    def jobs_of(self, study: str) -> list[RayJob]:
        """The jobs of one study, in the order of their starts."""
        return [job for job in self.all_jobs() if job.study == study]

    def find(self, name: str) -> RayJob:
        """The job of that name, or the newest job of the study of that name.

        Raises:
            ClusterError: there is none.
        """
        every = self.all_jobs()
        found = [job for job in every if job.name == name] or [j for j in every if j.study == name]
        if not found:
            known = ", ".join(job.name for job in every) or "none yet"
            raise ClusterError(
                f"there is no job '{name}' at {self.url} (there are: {known}); "
                f"see: chorale jobs list --address {self.url}"
            )
        # A study's first job has the study's name, which means the newest job.
        same = [job for job in every if job.study == found[-1].study]
        return same[-1] if name == found[-1].study else found[-1]

    def log(self, name: str) -> str:
        """The output of a job so far."""
        with self._translate_errors():
            return str(self._client.get_job_logs(quote(name, safe="")))

    def follow(self, name: str, show: Callable[[str], None]) -> RayJob:
        """Passes a job's output to `show`, in pieces, until it has ended; returns the job.

        It reconnects after a broken connection, and shows nothing twice.

        Raises:
            ClusterError: the cluster does not answer any more.
            KeyboardInterrupt: at once; the job goes on.
        """
        n_shown, answered_s = 0, time.monotonic()
        while True:
            n_shown = asyncio.run(self._tail(name, show, skip=n_shown))
            try:
                job = self.get(name)
                answered_s = time.monotonic()
                if not job.is_alive:
                    if rest := self.log(name)[n_shown:]:
                        show(rest)
                    return job
            except ClusterError:
                if time.monotonic() - answered_s > CLUSTER_TIMEOUT_S:
                    raise
            time.sleep(POLL_S)

    def stop(self, name: str) -> RayJob:
        """Stops a job and waits until it has ended; returns the job.

        Raises:
            ClusterError: there is none of that name, or it has not ended after a long wait.
        """
        with self._translate_errors():
            self._client.stop_job(quote(name, safe=""))
        ends = time.monotonic() + 2 * STOP_WAIT_S
        while (job := self.get(name)).is_alive:
            if time.monotonic() > ends:
                raise ClusterError(
                    f"job '{name}' has not stopped within {2 * STOP_WAIT_S} s; look at it with: "
                    f"chorale jobs logs {name} --address {self.url}"
                )
            time.sleep(POLL_S)
        return job

    def get(self, name: str) -> RayJob:
        """The job of exactly that name.

        Raises:
            ClusterError: there is none, or the cluster does not answer.
        """
        with self._translate_errors():
            return _job(self._client.get_job_info(quote(name, safe="")))

    async def _tail(self, name: str, show: Callable[[str], None], *, skip: int) -> int:
        """Shows the output after the first `skip` characters; returns its length in characters."""
        import aiohttp

        n_received = 0
        # After a broken connection the caller asks for the job's state.
        with contextlib.suppress(RuntimeError, OSError, aiohttp.ClientError):
            async for piece in self._client.tail_job_logs(quote(name, safe="")):
                new = piece[max(0, skip - n_received) :]
                n_received += len(piece)
                if new:
                    show(new)
        return max(skip, n_received)

    def _running_error(self, study: str, name: str) -> ClusterError:
        return ClusterError(
            f"study '{study}' is already run by job '{name}'; follow it with: "
            f"chorale jobs logs {name} --follow --address {self.url}; "
            f"or stop it first: chorale jobs stop {name} --address {self.url}"
        )

    @contextlib.contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # Ray's client also raises its HTTP library's errors
            raise _refused(self.url, error) from error


def _client(url: str, *, requires_token: bool) -> Any:
    """Ray's client of a job server, with the token in its headers if one is required."""
    from ray.job_submission import JobSubmissionClient

    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    # The two addresses would override `url`.
    authentication = tokens.TOKEN_AUTH_VARIABLES if requires_token else {}
    variables = {"RAY_ADDRESS": "", "RAY_API_SERVER_ADDRESS": "", **authentication}
    with set_variables(variables):
        tokens.reload()
        try:
            return JobSubmissionClient(url)
        except Exception as error:  # Ray's own and its HTTP library's errors
            raise _refused(url, error) from error


def _job(details: Any) -> RayJob:
    name = str(details.submission_id)
    began, ended = details.start_time, details.end_time
    return RayJob(
        name=name,
        study=(details.metadata or {}).get(STUDY_KEY, name),
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
            f"the cluster at address={url!r} refuses the token on this machine; copy its "
            f"~/.ray/auth_token to this machine, or: export RAY_AUTH_TOKEN_PATH=FILE"
        )
    return ClusterError(f"the job server at {url} reports: {lines[0]:.300}")
