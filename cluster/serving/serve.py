"""An ASGI app as replicas under Ray Serve, on a private Ray or on a cluster.

It is given what makes the app and knows nothing of what the app does. An app that gathers requests
into batches does so within each replica.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chorale.cluster.base import ClusterError
from chorale.cluster.connection.addresses import LOCAL, is_remote
from chorale.cluster.connection.connect import Typed, cluster_size, connect
from chorale.cluster.serving.proxy import environment_of
from chorale.cluster.versions import install_extra

NAME = "chorale"
HEALTH_S = 5.0
"""How often a replica is asked whether it is well, in seconds."""
LEAVE_S = 3.0
"""How long a replica that is to end may take for what it is at, in seconds: Ctrl-C ends all of this
within ten."""
SPARE = 8
"""So many requests more than an app wants are given to it, so that it can refuse them itself."""
PATIENCE = {
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "30",
}
"""How long a proxy may take to start and to say that it is well, in seconds: on a busy machine Ray
ends one that is only slow."""
TYPED = Typed(
    local="--address local",
    alone="leave --address out, to serve from this process",
    allow_no_token="--allow-no-token",
)


def serve_on(
    factory: Callable[[], Any],
    *,
    address: str,
    needs: Path,
    host: str,
    port: int,
    replicas: int,
    queue: int,
    body_bytes: int,
    allow_no_token: bool = False,
) -> None:
    """Serves until Ctrl-C or SIGTERM on the cluster at an address; see `connect` and `deployed`.

    Args:
        factory: as in `deployed`.
        address: as in `connect`.
        needs: a folder that the factory reads; every node must have it.
        host: as in `deployed`.
        port: likewise.
        replicas: likewise.
        queue: likewise.
        body_bytes: likewise.
        allow_no_token: join also an open cluster, as in `connect`.

    Raises:
        ClusterError: as these; or a node lacks something.
    """
    if is_remote(address):
        raise ClusterError(
            f"replicas are started from inside the cluster, but got {address=}; on one of its "
            f"machines type --address auto, or give the head's own address, such as HOST:6379"
        )
    try:
        with connect(address, allow_no_token=allow_no_token, typed=TYPED):
            if address != LOCAL:
                _refuse_unfit(needs)
            print(f"starting {replicas} replicas; the first request can come in a moment ...")
            with deployed(
                factory, host=host, port=port, replicas=replicas, queue=queue, body_bytes=body_bytes
            ) as url:
                print(f"{replicas} replicas: {url}   (Ctrl-C ends them)", flush=True)
                threading.Event().wait()
    except KeyboardInterrupt:
        print("the replicas have ended")


@contextmanager
def deployed(
    factory: Callable[[], Any],
    *,
    host: str,
    port: int,
    replicas: int,
    queue: int,
    body_bytes: int,
) -> Iterator[str]:
    """Serves the app of `factory` on the connected Ray while the block runs; gives its URL.

    Args:
        factory: makes the ASGI app; called once in each replica, so it must be picklable.
        host: where the cluster's HTTP proxies listen.
        port: likewise; a free one must be named.
        replicas: how many processes hold an app each, on a CPU each.
        queue: so many requests are handled by one replica at once; an app refuses those beyond
            what it wants itself, so it is given a few more than that.
        body_bytes: the longest body that the app takes; no more than that of it is ever held.

    Raises:
        ClusterError: Ray Serve is not installed, is in use, or the app cannot be made there.
    """
    try:
        from ray import serve
        from ray.exceptions import RayError
    except ImportError as error:
        raise ClusterError(
            f"serving on a cluster needs Ray Serve ({error}); type: "
            f"{install_extra('serve-cluster')}"
        ) from None
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    _refuse_full(replicas)
    if serve.status().proxies:
        raise ClusterError(
            "this cluster serves something already, and its proxies would be ended with ours; end "
            "it there with: serve shutdown, or name another cluster with --address"
        )
    app = serve.deployment(
        name=NAME,
        num_replicas=replicas,
        max_ongoing_requests=queue + SPARE,
        max_queued_requests=replicas * (queue + SPARE),
        health_check_period_s=HEALTH_S,
        graceful_shutdown_wait_loop_s=0.2,
        graceful_shutdown_timeout_s=LEAVE_S,
        ray_actor_options={"num_cpus": 1},
        logging_config={"enable_access_log": False},
    )(serve.ingress()(_Replica))
    try:
        try:
            serve.start(
                http_options={"host": host, "port": port},
                controller_options={
                    "runtime_env": {"env_vars": PATIENCE | environment_of(body_bytes)}
                },
            )
            serve.run(app.bind(factory), name=NAME, route_prefix="/")
        except (RuntimeError, TimeoutError, RayError) as error:
            raise ClusterError(_why(f"{error}\n{_told()}")) from error
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}/"
    finally:
        serve.shutdown()


class _Replica:
    """What Ray Serve starts: it makes its app when it is there."""

    def __init__(self, factory: Callable[[], Any]) -> None:
        self._factory = factory

    def __serve_build_asgi_app__(self) -> Any:
        return self._factory()


def _refuse_full(replicas: int) -> None:
    """Refuses what would wait for ever.

    Raises:
        ClusterError: there are fewer CPUs than replicas.
    """
    cpus = cluster_size().cpus
    if replicas > cpus:
        raise ClusterError(
            f"each replica takes a CPU, and there are {cpus:g}, but got --replicas {replicas}; "
            f"type --replicas {int(cpus)}"
        )


def _refuse_unfit(needs: Path) -> None:
    """Refuses a cluster whose nodes have other versions, or lack the folder.

    Raises:
        ClusterError: so it is.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from chorale.cluster.doctor import doctor

    doctor.quick()
    look = ray.remote(num_cpus=0)(_is_folder)
    looks = {
        node["NodeManagerAddress"]: look.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(str(needs))
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU")
    }
    lacking = [where for where, seen in looks.items() if not ray.get(seen)]
    if lacking:
        raise ClusterError(
            f"'{needs}' should lie on every node, but {', '.join(lacking)} has no such folder; "
            f"copy it there under the same path, or put it where all nodes see it"
        )


def _is_folder(path: str) -> bool:
    return Path(path).is_dir()


def _told() -> str:
    """What Serve says of the app's deployments, a replica's trace among it."""
    from ray import serve
    from ray.exceptions import RayError

    try:
        found = serve.status().applications[NAME].deployments.values()
    except (KeyError, RayError):  # it came not so far, or is gone
        return ""
    return "\n".join(one.message for one in found)


def _why(trace: str) -> str:
    """The last error of a replica's trace: what its app could not do."""
    lines = [line.strip() for line in trace.splitlines() if line.strip()] or ["it does not say why"]
    told = next((line for line in reversed(lines) if "Error: " in line), lines[0])
    return f"the app cannot be started on the cluster: {told.partition('Error: ')[2] or told}"
