"""A Ray cluster on this machine: a head without work, and two nodes that train. No test."""

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
    """The cluster; `address` is what a sweep joins, with the token that is in the environment."""

    def __init__(self, made: Any) -> None:
        self._made = made
        self.address = str(made.address)
        self.raylets: list[int] = []
        self._nodes: dict[int, Any] = {}
        self.fill()

    def fill(self) -> None:
        """Two nodes train again: those that died are replaced."""
        for pid in list(self._nodes):
            if not _runs(pid):
                self._made.remove_node(self._nodes.pop(pid), allow_graceful=False)
        while len(self._nodes) < 2:
            node = _started(
                lambda: self._made.add_node(
                    num_cpus=1, node_ip_address=LOOPBACK, object_store_memory=STORE_BYTES
                )
            )
            self._nodes[node.all_processes["raylet"][0].process.pid] = node
        self.raylets = list(self._nodes)

    def dead(self) -> int:
        """How many of the two nodes have died since."""
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
        patch.setenv("RAY_raylet_start_wait_time_s", "120")  # a busy machine needs more than 30
        patch.setenv("PYTHONPATH", str(checkout))
        for name in ("ray._private.services", "ray.util"):  # else it leaves loopback by itself
            patch.setattr(f"{name}.get_node_ip_address", lambda *_: LOOPBACK)
        for name in ("_private.utils.write_ray_address", "_common.utils.reset_ray_address"):
            patch.setattr(f"ray.{name}", lambda *_, **__: None)  # a person's cluster is not ours
        tokens.read_again()
        head = {
            "num_cpus": 0,
            "node_ip_address": LOOPBACK,
            "include_dashboard": False,
            "object_store_memory": STORE_BYTES,
            "temp_dir": folder,
        }
        made = _started(lambda: Cluster(initialize_head=True, head_node_args=head))
        try:
            yield Nodes(made)
        finally:
            made.shutdown()
            shutil.rmtree(folder, ignore_errors=True)
    tokens.read_again()


def _started(start: Callable[[], Any], *, n_attempts: int = 3) -> Any:
    """What `start` starts; Ray gives a busy machine half a minute, which may be too little."""
    try:
        return start()
    except Exception as error:  # Ray raises no other type
        if "timed out during startup" not in str(error) or n_attempts == 1:
            raise
        return _started(start, n_attempts=n_attempts - 1)


def _runs(pid: int) -> bool:
    """Whether a child of this process still runs, be it looked after or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
