"""An ASGI app as replicas under Ray Serve, on a private Ray or on a cluster.

It is given what makes the app and knows nothing of what the app does. An app that gathers requests
into batches does so within each replica.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cluster.base import ClusterError
from cluster.connect import connect

NAME = "chorale"
LOST_S = 5.0
"""How often a replica is asked whether it is well, in seconds."""


@contextmanager
def deployed(
    factory: Callable[[], Any], *, host: str, port: int, replicas: int, queue: int
) -> Iterator[str]:
    """Serves the app of `factory` on the connected Ray while the block runs; gives its URL.

    Args:
        factory: makes the ASGI app; called once in each replica, so it must be picklable.
        host: where the cluster's HTTP proxies listen.
        port: likewise; a free one must be named.
        replicas: how many processes hold an app each.
        queue: so many requests are handled by one replica at once; an app refuses those beyond
            what it wants itself, so it is given a few more than that.

    Raises:
        ClusterError: Ray Serve is not installed, or the app cannot be made there.
    """
    try:
        from ray import serve
    except ImportError as error:
        raise ClusterError(
            f"serving on a cluster needs Ray Serve ({error}); type: "
            f"pip install 'chorale[serve-cluster]'"
        ) from None
    app = serve.deployment(
        name=NAME, num_replicas=replicas, max_ongoing_requests=queue + 8,
        health_check_period_s=LOST_S, ray_actor_options={"num_cpus": 1},
    )(serve.ingress(factory)(_Replica))  # fmt: skip
    serve.start(http_options={"host": host, "port": port})
    try:
        try:
            serve.run(app.bind(), name=NAME, route_prefix="/")
        except RuntimeError as error:
            raise ClusterError(f"the app could not be started on the cluster: {error}") from error
        yield f"http://{host}:{port}/"
    finally:
        serve.shutdown()


class _Replica:
    """What Ray Serve starts; it has no state beside its app."""


def serve_on(
    factory: Callable[[], Any], *, address: str, host: str, port: int, replicas: int, queue: int
) -> None:
    """Serves until Ctrl-C or SIGTERM on the cluster at an address; see `connect` and `deployed`.

    Raises:
        ClusterError: as these.
    """
    with (
        connect(address),
        deployed(factory, host=host, port=port, replicas=replicas, queue=queue) as url,
    ):
        print(f"{replicas} replicas: {url}   (Ctrl-C ends them)", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print("the replicas have ended")
