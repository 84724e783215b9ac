"""One private Ray for all tests of this folder; it is gone before another folder's tests begin.

And clusters of several nodes, all on this machine, for tests that need such.
"""

import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

N_CPUS = 2

OPENED = pytest.StashKey[ExitStack]()


@pytest.fixture(scope="module")
def private_ray(request: pytest.FixtureRequest) -> None:
    """Connects this process to a private Ray, if it is not connected by an earlier test."""
    from chorale.cluster.connection.connect import connect

    if OPENED not in request.session.stash:
        opened = request.session.stash[OPENED] = ExitStack()
        opened.enter_context(connect(num_cpus=N_CPUS))


@pytest.fixture(scope="module")
def no_private_ray(request: pytest.FixtureRequest) -> None:
    """Disconnects this process, for tests that bring a cluster; the next module connects again."""
    if OPENED in request.session.stash:
        request.session.stash[OPENED].close()
        del request.session.stash[OPENED]


NODE = {"node_ip_address": "127.0.0.1", "object_store_memory": 80 * 2**20}
"""What all pretended nodes have in common."""


@pytest.fixture(scope="module")
def own_cluster(no_private_ray: None) -> Callable[..., AbstractContextManager[Any]]:
    """Gives `cluster(**head)`: for a block, a Ray cluster that this process is connected to.

    It listens on loopback, with a token and a temporary folder of its own; nodes are added to what
    it yields by `add_node(**NODE, num_cpus=...)`.
    """
    return _own_cluster


@contextmanager
def _own_cluster(**head: Any) -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    from chorale.cluster.connection import connect as connecting
    from chorale.cluster.connection import tokens

    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # sockets need a short path
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(Path(connecting.__file__).parents[2]))
        for name in ("ray._private.services", "ray.util"):  # else it leaves loopback by itself
            patch.setattr(f"{name}.get_node_ip_address", lambda *_: "127.0.0.1")
        for name in ("_private.utils.write_ray_address", "_common.utils.reset_ray_address"):
            patch.setattr(f"ray.{name}", lambda *_, **__: None)  # a person's cluster is not ours
        tokens.read_again()
        made = Cluster(
            initialize_head=True,
            head_node_args={**NODE, "include_dashboard": False, "temp_dir": folder, **head},
        )
        try:
            with connecting.connect(made.address):
                yield made
        finally:
            made.shutdown()
            shutil.rmtree(folder, ignore_errors=True)
    tokens.read_again()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Disconnects after the last test of this folder."""
    yield
    is_last = nextitem is None or Path(__file__).parent not in nextitem.path.parents
    if is_last and OPENED in item.session.stash:
        item.session.stash[OPENED].close()
        del item.session.stash[OPENED]
