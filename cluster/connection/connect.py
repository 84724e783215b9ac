"""Connects to Ray: starts a private instance on this machine, or joins a running cluster.

All other code of `cluster` that needs Ray runs inside `connect`.
"""

import os
import re
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from chorale.cluster._ray import bootstrap_address, hidden_messages, require_ray_internals
from chorale.cluster.base import ClusterError, Resources
from chorale.cluster.connection import tokens
from chorale.cluster.connection.addresses import (
    AUTO_ADDRESS,
    LOCAL_ADDRESS,
    PROBE_TIMEOUT_S,
    gcs_requires_token,
    is_remote,
    job_server_url,
    require_authentication,
)
from chorale.cluster.connection.nodes import cluster_resources
from chorale.cluster.connection.ray_lifecycle import interruptible, shut_down_ray
from chorale.cluster.environment import checkout_paths, set_variables, thread_variables

MAX_TEMP_DIR_LENGTH = 30
"""A Unix socket's path has at most 107 characters; "/ray-xxxxxxxx" takes 13 of them, Ray's
"/session_<time>_<pid>" 43 and "/sockets/plasma_store" 21."""

STARTUP_TIMEOUT_TEXT = "timed out during startup"
"""In Ray's error if its processes took longer than half a minute to start."""

HIDDEN_MESSAGES = re.compile(
    "A worker died|has been marked dead|Raylet is terminated|ServeController.graceful_shutdown"
)
"""Lines that Ray prints to stdout at any log level; lost trials are reported by their outcome, and
the controller's shutdown was requested."""

MIB = 2**20

N_REMOVAL_ATTEMPTS, REMOVAL_PAUSE_S = 10, 0.1
"""How many attempts to remove a folder that is still written to, and the pause between them."""


@dataclass(frozen=True)
class CommandHints:
    """The options that error messages suggest; each command has its own.

    `local` starts a private Ray, `without_ray` runs without Ray, `allow_no_token` accepts a cluster
    without authentication.
    """

    local: str = "--cluster.address local"
    without_ray: str = "run without it, one trial at a time: --cluster.address none"
    allow_no_token: str = "--cluster.allow_no_token true"


SWEEP_HINTS = CommandHints()


@contextmanager
def connect(
    address: str = LOCAL_ADDRESS,
    *,
    num_cpus: int | None = None,
    num_gpus: int | None = None,
    temp_dir: Path | None = None,
    object_store_mib: int = 256,
    preload: Sequence[str] = (),
    working_dir: Path | None = None,
    allow_no_token: bool = False,
    hints: CommandHints = SWEEP_HINTS,
) -> Iterator[Resources]:
    """Connects this process to Ray while the block runs; yields the cluster's resources.

    Args:
        address: "local" starts a private Ray and stops it again; "auto" joins the cluster that runs
            on this machine or that a Ray job belongs to; HOST:PORT joins that one.
        num_cpus: how many CPUs a private Ray may use; all of them if None.
        num_gpus: how many GPUs a private Ray may use; all of them if None.
        temp_dir: where a private Ray keeps sockets and logs while it runs; must be a short path.
        object_store_mib: object store of a private Ray, in MiB. A trial's value goes through it.
        preload: modules that the workers of a private Ray import as soon as they start, in
            parallel with this process, so that the first trials need not import them.
        working_dir: code that the workers of a joined cluster lack; Ray uploads it to them.
        allow_no_token: also join a cluster that requires no token and that other machines can
            reach.
        hints: the command-line options that error messages suggest.

    Raises:
        ClusterError: Ray cannot be started, there is no cluster at `address`, or it requires no
            token.
    """
    if is_remote(address):
        raise ClusterError(
            f"a sweep's driver runs inside the cluster, but got {address=}; submit it as a job "
            f"with: chorale submit SWEEP.yaml --address {job_server_url(address)}"
        )
    if address != LOCAL_ADDRESS:
        variables = _authentication_variables(address, allow_no_token=allow_no_token, hints=hints)
        runtime_env: dict[str, Any] = {"working_dir": str(working_dir)} if working_dir else {}
        if checkout_paths():
            runtime_env["env_vars"] = {"PYTHONPATH": os.pathsep.join(checkout_paths())}
        with _session(address, hints, variables=variables, runtime_env=runtime_env):
            yield cluster_resources()
        return
    with (
        _private_folder(temp_dir) as folder,
        _session(
            LOCAL_ADDRESS,
            hints,
            variables=_private_environment(preload),
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            object_store_memory=object_store_mib * MIB,
            include_dashboard=False,
            _temp_dir=folder,
        ),
    ):
        yield cluster_resources()


@contextmanager
def _session(
    address: str, hints: CommandHints, *, variables: Mapping[str, str], **options: Any
) -> Iterator[None]:
    """Connects while the block runs; processes that Ray starts inherit `variables`."""
    if ray.is_initialized():
        raise ClusterError("this process is connected to Ray already; do not nest `connect`")
    require_ray_internals()
    with hidden_messages(HIDDEN_MESSAGES):
        try:
            with set_variables(variables):
                tokens.reload()
                _init(address, options, hints)
            yield
        finally:
            shut_down_ray()
            tokens.reload()


def _init(
    address: str, options: Mapping[str, Any], hints: CommandHints, *, n_attempts: int = 2
) -> None:
    try:
        with interruptible():
            ray.init(address=address, logging_level="ERROR", log_to_driver=False, **options)
    except Exception as error:  # Ray raises a plain Exception if a node does not start in time
        if address == LOCAL_ADDRESS and n_attempts > 1 and STARTUP_TIMEOUT_TEXT in str(error):
            ray.shutdown()
            _init(address, options, hints, n_attempts=n_attempts - 1)
            return
        if address != LOCAL_ADDRESS:
            raise _no_cluster(address, error, hints) from error
        raise ClusterError(
            f"Ray could not be started on this machine ({_first_line(error)}); {hints.without_ray}"
        ) from error


def _authentication_variables(
    address: str, *, allow_no_token: bool, hints: CommandHints
) -> dict[str, str]:
    """The environment variable for joining a cluster with a token; empty if it requires none.

    Raises:
        ClusterError: there is no answer, the cluster requires no token, or its token is missing
            here.
    """
    try:
        host, port = _host_and_port(address)
        # Ray itself waits for minutes before it reports that nothing listens.
        socket.create_connection((host, port), timeout=PROBE_TIMEOUT_S).close()
        requires_token = gcs_requires_token(host, port)
    except (OSError, ValueError) as error:
        raise _no_cluster(address, error, hints) from error
    require_authentication(
        address,
        host,
        requires_token=requires_token,
        allow_no_token=allow_no_token,
        flag=hints.allow_no_token,
    )
    tokens.restrict_default_file()
    return dict(tokens.TOKEN_AUTH_VARIABLES) if requires_token else {}


def _host_and_port(address: str) -> tuple[str, int]:
    """The host and port that Ray connects to; for this machine, its external address.

    Raises:
        ConnectionError: no cluster runs on this machine.
        ValueError: the address is invalid.
    """
    at = bootstrap_address(None if address == AUTO_ADDRESS else address)
    host, _, port = at.rpartition(":")
    return host.strip("[]"), int(port)


def _no_cluster(address: str, error: Exception, hints: CommandHints) -> ClusterError:
    return ClusterError(
        f"no Ray cluster answers at address={address!r}; start one with: RAY_AUTH_MODE=token ray "
        f"start --head, or use a private one with: {hints.local} ({_first_line(error)})"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _private_environment(preload: Sequence[str]) -> dict[str, str]:
    """Environment of a private Ray's processes: one thread each, the import path, and a token.

    Ray listens on all network interfaces, so a random token keeps other users out. Its workers get
    the command's niceness: Ray's default of 15 would leave them 3 % of a core beside another
    process, and a sweep could not keep to its time.
    """
    variables = {
        **thread_variables(1),
        "RAY_worker_niceness": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_preload_python_modules": ",".join(preload),
    }
    path = checkout_paths()[:1]
    if path:
        variables["PYTHONPATH"] = os.pathsep.join([*path, os.environ.get("PYTHONPATH", "")])
    return variables


@contextmanager
def _private_folder(temp_dir: Path | None) -> Iterator[str]:
    """A new folder in `temp_dir` or the system's temporary folder, removed after the block."""
    candidates = [temp_dir] if temp_dir else [Path(tempfile.gettempdir()), Path("/tmp")]
    short = [path for path in candidates if len(str(path.absolute())) <= MAX_TEMP_DIR_LENGTH]
    if not short:
        raise ClusterError(
            f"Ray's sockets need a temporary folder whose path has at most {MAX_TEMP_DIR_LENGTH} "
            f"characters, but got temp_dir={str(candidates[0])!r}; "
            f"give a shorter one, such as /tmp"
        )
    folder = tempfile.mkdtemp(dir=short[0].absolute(), prefix="ray-")
    try:
        yield folder
    finally:
        for _ in range(N_REMOVAL_ATTEMPTS):  # killed processes may still be writing to it
            shutil.rmtree(folder, ignore_errors=True)
            if not Path(folder).exists():
                break
            time.sleep(REMOVAL_PAUSE_S)
