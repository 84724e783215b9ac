"""Private names of Ray, all in this file; checked before Ray starts, so that a new Ray is named.

There is no public way to start Ray interruptibly, to reload its token within a process, or to read
its dashboard's address. Tune's private names are in `cluster.tune._tune`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from re import Pattern
from typing import Any

import ray

from chorale.cluster.base import ClusterError
from chorale.cluster.versions import missing_names, pip_install_command

TESTED = "2.60"
"""The release that Chorale was tested with."""

REQUIRED = (
    "ray._private.node:Node.kill_all_processes",
    "ray._private.node:Node.start_api_server",
    "ray._private.ray_logging:stdout_deduplicator.skip_re",
    "ray._private.services:canonicalize_bootstrap_address",
    "ray._private.services:canonicalize_bootstrap_address_or_die",
    "ray._private.utils:set_sigterm_handler",
    "ray._private.worker:global_worker",
    "ray._raylet:AuthenticationTokenLoader.instance",
    "ray._raylet:Config.initialize",
    "ray._raylet:CoreWorker",
)
"""Every private name that this file uses, as module:attributes."""


@cache
def require_ray_internals() -> None:
    """Checks once that the installed Ray has every private name that is used here.

    Raises:
        ClusterError: names those that it lacks, and the release to install.
    """
    if missing := missing_names(REQUIRED):
        raise ClusterError(
            f"Ray {ray.__version__} lacks {', '.join(missing)}, which Chorale needs (tested with "
            f"{TESTED}); type: {pip_install_command(f'ray[default,train,tune]=={TESTED}.*')}"
        )


@contextmanager
def hidden_messages(pattern: Pattern[str]) -> Iterator[None]:
    """Drops messages that match `pattern` from what Ray prints to stdout."""
    from ray._private.ray_logging import stdout_deduplicator

    before, stdout_deduplicator.skip_re = stdout_deduplicator.skip_re, pattern
    try:
        yield
    finally:
        stdout_deduplicator.skip_re = before


def bootstrap_address(address: str | None) -> str:
    """The host:port of a cluster's control service; None means the running cluster.

    Raises:
        ConnectionError: no cluster runs.
        ValueError: the address is invalid.
    """
    from ray._private import services

    if address is None:
        return str(services.canonicalize_bootstrap_address_or_die("auto"))
    return str(services.canonicalize_bootstrap_address(address) or "")


def global_worker() -> Any:
    """Ray's connection of this process."""
    return ray._private.worker.global_worker


def dashboard_address() -> str:
    """The host:port of the connected cluster's dashboard; empty where it has none."""
    return str((global_worker().node.address_info or {}).get("webui_url") or "")


def reload_token() -> None:
    """Makes Ray read its authentication mode and token again; else it does so once per process."""
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def lean_start(on_node: Callable[[Any], None], after_connect: Callable[[], None]) -> Iterator[None]:
    """Ray's start without its own SIGTERM handler and without processes that are not used.

    A private node starts no autoscaler, log monitor or API server: they take twice the CPU time of
    all other processes together.

    Args:
        on_node: gets each node before its first process starts.
        after_connect: called as soon as Ray's core has started in this process.
    """

    class Node(ray._private.node.Node):  # type: ignore[misc]
        def __init__(self, ray_params: Any, *args: Any, **kwargs: Any) -> None:
            on_node(self)
            ray_params.no_monitor, ray_params.include_log_monitor = True, False
            super().__init__(ray_params, *args, **kwargs)

        def start_api_server(self, **_: Any) -> None:
            """Does nothing: Ray would start it even without a dashboard."""

    start_core = ray._raylet.CoreWorker

    def core(*args: Any, **kwargs: Any) -> Any:
        try:
            return start_core(*args, **kwargs)
        finally:
            after_connect()

    with (
        _replaced(ray._private.utils, "set_sigterm_handler", lambda _: None),
        _replaced(ray._private.node, "Node", Node),
        _replaced(ray._raylet, "CoreWorker", core),
    ):
        yield


@contextmanager
def _replaced(module: Any, name: str, value: Any) -> Iterator[None]:
    """Sets an attribute of a module while the block runs."""
    original = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, original)
