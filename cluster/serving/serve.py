"""Ray Serve: runs replicas of an ASGI app, on a private Ray or on a cluster.

It takes a factory of the app and knows nothing of what the app does. An app that batches requests
does so within each replica.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chorale.cluster.base import ClusterError
from chorale.cluster.connection.addresses import LOCAL_ADDRESS, is_remote
from chorale.cluster.connection.connect import CommandHints, connect
from chorale.cluster.connection.nodes import cluster_resources
from chorale.cluster.serving.proxy import body_limit_variables
from chorale.cluster.versions import install_extra_command

APP_NAME = "chorale"
HEALTH_CHECK_INTERVAL_S = 5.0
"""Interval of a replica's health checks, in seconds."""
REPLICA_SHUTDOWN_S = 3.0
"""How long a stopping replica may take to finish its requests, in seconds: after Ctrl-C everything
ends within ten."""
EXTRA_REQUESTS = 8
"""A replica gets this many requests beyond its app's limit, so that the app itself refuses them."""
PROXY_TIMEOUT_VARIABLES = {
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "30",
}
"""Timeouts for a proxy's start and its health checks, in seconds: with the defaults, on a busy
machine, Ray kills a proxy that is only slow."""
SERVE_HINTS = CommandHints(
    local="--address local",
    without_ray="omit --address to serve from this process",
    allow_no_token="--allow-no-token",
)


def serve_on_cluster(
    factory: Callable[[], Any],
    *,
    address: str,
    required_folder: Path,
    host: str,
    port: int,
    replicas: int,
    queue: int,
    body_bytes: int,
    allow_no_token: bool = False,
) -> None:
    """Serves until Ctrl-C or SIGTERM on the cluster at an address; see `connect` and `deploy`.

    Args:
        factory: as in `deploy`.
        address: as in `connect`.
        required_folder: a folder that the factory reads; every node must have it.
        host: as in `deploy`.
        port: likewise.
        replicas: likewise.
        queue: likewise.
        body_bytes: likewise.
        allow_no_token: also join a cluster without authentication, as in `connect`.

    Raises:
        ClusterError: as in these; or a node has other versions or lacks the folder.
    """
    if is_remote(address):
        raise ClusterError(
            f"replicas are started from inside the cluster, but got {address=}; on one of its "
            f"machines type --address auto, or give the head's own address, such as HOST:6379"
        )
    try:
        with connect(address, allow_no_token=allow_no_token, hints=SERVE_HINTS):
            if address != LOCAL_ADDRESS:
                _check_nodes(required_folder)
            print(f"starting {replicas} replicas ...")
            with deploy(
                factory, host=host, port=port, replicas=replicas, queue=queue, body_bytes=body_bytes
            ) as url:
                print(f"{replicas} replicas: {url}   (Ctrl-C stops them)", flush=True)
                threading.Event().wait()
    except KeyboardInterrupt:
        print("the replicas have stopped")


@contextmanager
def deploy(
    factory: Callable[[], Any],
    *,
    host: str,
    port: int,
    replicas: int,
    queue: int,
    body_bytes: int,
) -> Iterator[str]:
    """Serves the app of `factory` on the connected Ray while the block runs; yields its URL.

    Args:
        factory: makes the ASGI app; called once in each replica, so it must be picklable.
        host: the address on which the cluster's HTTP proxies listen.
        port: likewise; it must be free.
        replicas: the number of processes with an app each, on one CPU each.
        queue: the maximum number of concurrent requests of one replica. Since the app itself
            refuses those beyond its limit, it gets a few more than that.
        body_bytes: the longest body that the app accepts; a proxy buffers no more.

    Raises:
        ClusterError: Ray Serve is not installed or in use, or the app cannot be started there.
    """
    try:
        from ray import serve
        from ray.exceptions import RayError
    except ImportError as error:
        raise ClusterError(
            f"serving on a cluster needs Ray Serve ({error}); type: "
            f"{install_extra_command('serve-cluster')}"
        ) from None
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    _check_cpus(replicas)
    if serve.status().proxies:
        raise ClusterError(
            "this cluster runs another Ray Serve app, whose proxies would be stopped with ours; "
            "stop it there with: serve shutdown, or give another cluster with --address"
        )
    app = serve.deployment(
        name=APP_NAME,
        num_replicas=replicas,
        max_ongoing_requests=queue + EXTRA_REQUESTS,
        max_queued_requests=replicas * (queue + EXTRA_REQUESTS),
        health_check_period_s=HEALTH_CHECK_INTERVAL_S,
        graceful_shutdown_wait_loop_s=0.2,
        graceful_shutdown_timeout_s=REPLICA_SHUTDOWN_S,
        ray_actor_options={"num_cpus": 1},
        logging_config={"enable_access_log": False},
    )(serve.ingress()(_Replica))
    try:
        try:
            serve.start(
                http_options={"host": host, "port": port},
                controller_options={
                    "runtime_env": {
                        "env_vars": PROXY_TIMEOUT_VARIABLES | body_limit_variables(body_bytes)
                    }
                },
            )
            serve.run(app.bind(factory), name=APP_NAME, route_prefix="/")
        except (RuntimeError, TimeoutError, RayError) as error:
            raise ClusterError(_start_error(f"{error}\n{_deployment_messages()}")) from error
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}/"
    finally:
        serve.shutdown()


class _Replica:
    """The class that Ray Serve starts; it makes its app in the replica's process."""

    def __init__(self, factory: Callable[[], Any]) -> None:
        self._factory = factory

    def __serve_build_asgi_app__(self) -> Any:
        return self._factory()


def _check_cpus(replicas: int) -> None:
    """Checks that all replicas have a CPU; else the deployment would wait forever.

    Raises:
        ClusterError: there are fewer CPUs than replicas.
    """
    cpus = cluster_resources().cpus
    if replicas > cpus:
        raise ClusterError(
            f"each replica takes a CPU, and there are {cpus:g}, but got --replicas {replicas}; "
            f"type --replicas {int(cpus)}"
        )


def _check_nodes(required_folder: Path) -> None:
    """Checks that all nodes have the same versions and the folder.

    Raises:
        ClusterError: a node has other versions or lacks the folder.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from chorale.cluster.doctor import doctor

    doctor.quick_check()
    task = ray.remote(num_cpus=0)(_is_folder)
    references = {
        node["NodeManagerAddress"]: task.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(str(required_folder))
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU")
    }
    lacking = [where for where, reference in references.items() if not ray.get(reference)]
    if lacking:
        raise ClusterError(
            f"every node needs the folder '{required_folder}', but {', '.join(lacking)} does not "
            f"have it; copy it there under the same path, or put it where all nodes see it"
        )


def _is_folder(path: str) -> bool:
    return Path(path).is_dir()


def _deployment_messages() -> str:
    """Serve's messages about the app's deployments, which include a replica's traceback."""
    from ray import serve
    from ray.exceptions import RayError

    try:
        deployments = serve.status().applications[APP_NAME].deployments.values()
    except (KeyError, RayError):  # not deployed yet, or Serve has ended
        return ""
    return "\n".join(deployment.message for deployment in deployments)


def _start_error(trace: str) -> str:
    """The last error of a replica's traceback as a message of one line."""
    lines = [line.strip() for line in trace.splitlines() if line.strip()] or ["no reason given"]
    cause = next((line for line in reversed(lines) if "Error: " in line), lines[0])
    return f"the app cannot be started on the cluster: {cause.partition('Error: ')[2] or cause}"
