"""A Ray cluster on this machine for crash tests: a head without CPUs and two worker nodes."""

import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

LOOPBACK = "127.0.0.1"
STORE_BYTES = 80 * 2**20


class Nodes:
    """The cluster; a sweep connects to `address` with the token in the environment."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self.address = str(cluster.address)
        self.raylets: list[int] = []
        self._nodes: dict[int, Any] = {}
        self.fill()

    def fill(self) -> None:
        """Replaces nodes that died, so that there are two again."""
        for pid in list(self._nodes):
            if not _runs(pid):
                self._cluster.remove_node(self._nodes.pop(pid), allow_graceful=False)
        while len(self._nodes) < 2:
            node = _started(
                lambda: self._cluster.add_node(
                    num_cpus=1, node_ip_address=LOOPBACK, object_store_memory=STORE_BYTES
                )
            )
            self._nodes[node.all_processes["raylet"][0].process.pid] = node
        self.raylets = list(self._nodes)

    def dead(self) -> int:
        """How many of the two nodes have died since `fill`."""
        return sum(not _runs(pid) for pid in self._nodes)


@contextmanager
def cluster(checkout: Path) -> Iterator[Nodes]:
    """The cluster while the block runs, with a token and a temporary folder of its own."""
    from ray.cluster_utils import Cluster

    from chorale.cluster.connection import tokens

    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # sockets need a short path
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # as in a private Ray, beside busy test workers
        patch.setenv("RAY_raylet_start_wait_time_s", "120")  # a busy machine needs more than 30
        patch.setenv("PYTHONPATH", str(checkout))
        for name in ("ray._private.services", "ray.util"):  # or it would leave loopback
            patch.setattr(f"{name}.get_node_ip_address", lambda *_: LOOPBACK)
        for name in ("_private.utils.write_ray_address", "_common.utils.reset_ray_address"):
            patch.setattr(f"ray.{name}", lambda *_, **__: None)  # keep the user's own cluster
        tokens.reload()
        head = {
            "num_cpus": 0,
            "node_ip_address": LOOPBACK,
            "include_dashboard": False,
            "object_store_memory": STORE_BYTES,
            "temp_dir": folder,
        }
        ray_cluster = _started(lambda: Cluster(initialize_head=True, head_node_args=head))
        try:
            yield Nodes(ray_cluster)
        finally:
            ray_cluster.shutdown()
            shutil.rmtree(folder, ignore_errors=True)
    tokens.reload()


def _started(start: Callable[[], Any], *, n_attempts: int = 3) -> Any:
    """The result of `start`, retried: a busy machine may need longer than Ray's timeout of 30 s."""
    try:
        return start()
    except Exception as error:  # Ray raises no other type
        if "timed out during startup" not in str(error) or n_attempts == 1:
            raise
        return _started(start, n_attempts=n_attempts - 1)


def _runs(pid: int) -> bool:
    """Whether a child of this process still runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
