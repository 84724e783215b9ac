"""Starts a private Ray on this machine, or joins a cluster that runs, and lets go of it again.

Everything else in `cluster` that needs Ray runs inside `connect`.
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
from ray._private.ray_logging import stdout_deduplicator
from ray._private.services import (
    canonicalize_bootstrap_address,
    canonicalize_bootstrap_address_or_die,
)

from chorale.cluster.base import ClusterError, Resources
from chorale.cluster.connection import tokens
from chorale.cluster.connection.addresses import (
    AUTO,
    LOCAL,
    PROBE_TIMEOUT_S,
    gcs_asks,
    is_remote,
    jobs_url,
    refuse_open,
)
from chorale.cluster.connection.starting import interruptible, shut_down
from chorale.cluster.environment import checkout_paths, environment, threads

MAX_TEMP_DIR_LENGTH = 30
"""A Unix socket's path has at most 107 characters; "/ray-xxxxxxxx" takes 13 of them, Ray's
"/session_<time>_<pid>" 43 and "/sockets/plasma_store" 21."""

TOO_BUSY = "timed out during startup"
"""What Ray says where its processes took longer than half a minute to start."""

LOSSES = re.compile(
    "A worker died|has been marked dead|Raylet is terminated|ServeController.graceful_shutdown"
)
"""What Ray prints to stdout at any log level; the trials that were lost tell it themselves, and a
controller that was told to end has ended."""

MIB = 2**20

REMOVALS, REMOVAL_PAUSE_S = 10, 0.1
"""How often, and after which pauses, a folder is removed that comes back."""


@dataclass(frozen=True)
class Typed:
    """What a message tells the user to type, which is another word for each command.

    `local` starts a private Ray, `alone` does without Ray, `allow_no_token` joins an open cluster.
    """

    local: str = "--cluster.address local"
    alone: str = "do without it, one trial at a time: --cluster.address none"
    allow_no_token: str = "--cluster.allow_no_token true"


SWEEP = Typed()


@contextmanager
def connect(
    address: str = LOCAL,
    *,
    num_cpus: int | None = None,
    num_gpus: int | None = None,
    temp_dir: Path | None = None,
    object_store_mib: int = 256,
    preload: Sequence[str] = (),
    working_dir: Path | None = None,
    allow_no_token: bool = False,
    typed: Typed = SWEEP,
) -> Iterator[Resources]:
    """Connects this process to Ray while the block runs; gives what the cluster has.

    Args:
        address: "local" starts a private Ray and stops it again; "auto" joins the one that runs on
            this machine or that a Ray job belongs to; HOST:PORT joins that one.
        num_cpus: how many CPUs a private Ray may use; all of them if None.
        num_gpus: how many GPUs a private Ray may use; all of them if None.
        temp_dir: where a private Ray keeps sockets and logs while it runs; must be a short path.
        object_store_mib: shared memory of a private Ray, in MiB. A trial's value goes through it.
        preload: modules that the workers of a private Ray import as soon as they start, so that the
            first trials find it done; while they do, this process goes on.
        working_dir: code that the workers of a joined cluster lack; Ray sends it to them.
        allow_no_token: join also a cluster that asks nobody for a token and that other machines
            can reach.
        typed: what messages tell the user to type.

    Raises:
        ClusterError: Ray cannot be started, there is no cluster at `address`, or it is open to all.
    """
    if is_remote(address):
        raise ClusterError(
            f"a sweep is driven from inside the cluster, but got {address=}; send it there with: "
            f"chorale submit SWEEP.yaml --address {jobs_url(address)}"
        )
    if address != LOCAL:
        variables = _manners(address, allow_no_token=allow_no_token, typed=typed)
        runtime_env: dict[str, Any] = {"working_dir": str(working_dir)} if working_dir else {}
        if checkout_paths():
            runtime_env["env_vars"] = {"PYTHONPATH": os.pathsep.join(checkout_paths())}
        with _session(address, typed, variables=variables, runtime_env=runtime_env):
            yield cluster_size()
        return
    with (
        _private_folder(temp_dir) as folder,
        _session(
            LOCAL,
            typed,
            variables=_private_environment(preload),
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            object_store_memory=object_store_mib * MIB,
            include_dashboard=False,
            _temp_dir=folder,
        ),
    ):
        yield cluster_size()


def cluster_size() -> Resources:
    """The CPUs and GPUs of all nodes of the connected cluster that are alive."""
    sizes = nodes()
    if not sizes:
        raise ClusterError("the cluster has no node with a CPU; look at it with: ray status")
    return Resources(sum(node.cpus for node in sizes), sum(node.gpus for node in sizes))


def nodes() -> list[Resources]:
    """What each node of the connected cluster has, of those that are alive and have a CPU."""
    found = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [Resources(r["CPU"], r.get("GPU", 0.0)) for r in found if r.get("CPU")]


def n_slots(trial: Resources) -> int:
    """How many trials of this size the nodes have room for at once.

    The processes of one trial may lie on several nodes.
    """
    return sum(_n_slots(trial.each, node) for node in nodes()) // trial.workers


def _n_slots(trial: Resources, node: Resources) -> int:
    by_cpus = int(node.cpus / trial.cpus + 1e-9)
    if not trial.gpus:
        return by_cpus
    # A trial's share must lie on one GPU: two trials of 0.4 fit on it, and no third one on two.
    per_gpu = int(1 / trial.gpus + 1e-9)
    by_gpus = int(node.gpus) * per_gpu if per_gpu else int(node.gpus / trial.gpus + 1e-9)
    return min(by_cpus, by_gpus)


@contextmanager
def _session(
    address: str, typed: Typed, *, variables: Mapping[str, str], **options: Any
) -> Iterator[None]:
    """Connects while the block runs; processes that Ray starts inherit `variables`."""
    if ray.is_initialized():
        raise ClusterError("this process is connected to Ray already; connect once, at the outside")
    before, stdout_deduplicator.skip_re = stdout_deduplicator.skip_re, LOSSES
    try:
        with environment(variables):
            tokens.read_again()
            _init(address, options, typed)
        yield
    finally:
        shut_down()
        tokens.read_again()
        stdout_deduplicator.skip_re = before


def _init(address: str, options: Mapping[str, Any], typed: Typed, *, n_attempts: int = 2) -> None:
    try:
        with interruptible():
            ray.init(address=address, logging_level="ERROR", log_to_driver=False, **options)
    except Exception as error:  # when a node does not start in time, Ray raises no other type
        if address == LOCAL and n_attempts > 1 and TOO_BUSY in str(error):
            ray.shutdown()
            _init(address, options, typed, n_attempts=n_attempts - 1)
            return
        if address != LOCAL:
            raise _no_cluster(address, error, typed) from error
        raise ClusterError(
            f"Ray could not be started on this machine ({_first_line(error)}); {typed.alone}"
        ) from error


def _manners(address: str, *, allow_no_token: bool, typed: Typed) -> dict[str, str]:
    """What joining a cluster takes: the variable that sends the token, where it asks for one.

    Raises:
        ClusterError: nobody answers, it is open to all, or its token is not here.
    """
    try:
        host, port = _whereabouts(address)
        # Ray itself waits for minutes before it says that nothing listens.
        socket.create_connection((host, port), timeout=PROBE_TIMEOUT_S).close()
        asks = gcs_asks(host, port)
    except (OSError, ValueError) as error:
        raise _no_cluster(address, error, typed) from error
    flag = typed.allow_no_token
    refuse_open(address, host, asks=asks, allow_no_token=allow_no_token, flag=flag)
    tokens.shut_default()
    return dict(tokens.ON) if asks else {}


def _whereabouts(address: str) -> tuple[str, int]:
    """The host and port that Ray will go to: of this machine, it takes the address others see.

    Raises:
        ConnectionError: no cluster runs on this machine.
        ValueError: the address is none.
    """
    if address == AUTO:
        at = canonicalize_bootstrap_address_or_die(AUTO)
    else:
        at = canonicalize_bootstrap_address(address) or ""
    host, _, port = at.rpartition(":")
    return host.strip("[]"), int(port)


def _no_cluster(address: str, error: Exception, typed: Typed) -> ClusterError:
    return ClusterError(
        f"no Ray cluster answers at address={address!r}; start one with: RAY_AUTH_MODE=token ray "
        f"start --head, or use a private one with: {typed.local} ({_first_line(error)})"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _private_environment(preload: Sequence[str]) -> dict[str, str]:
    """What the processes of a private Ray inherit: one thread, the code, and a token.

    Ray listens on all network interfaces, so a token that nobody else knows keeps others out.
    """
    variables = {
        **threads(1),
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
    """A new folder below `temp_dir` or the system's, removed with all that Ray wrote to it."""
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
        for _ in range(REMOVALS):  # what the kernel has not ended yet may still write to it
            shutil.rmtree(folder, ignore_errors=True)
            if not Path(folder).exists():
                break
            time.sleep(REMOVAL_PAUSE_S)
