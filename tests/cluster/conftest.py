"""One private Ray for all tests of this folder, stopped before another folder's tests begin.

Also clusters of several nodes on this machine, for tests that need them.
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
    """Connects this process to a private Ray, unless an earlier test has."""
    from chorale.cluster.connection.connect import connect

    if OPENED not in request.session.stash:
        opened = request.session.stash[OPENED] = ExitStack()
        opened.enter_context(connect(num_cpus=N_CPUS))


@pytest.fixture(autouse=True)
def keeps_private_ray(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that ended the private Ray, and starts another one for those that follow."""
    yield
    if OPENED not in request.session.stash:
        return
    from chorale.cluster.connection.connect import connect
    from chorale.cluster.connection.nodes import death_reasons, node_resources

    if not node_resources():
        reasons = death_reasons()
        opened = request.session.stash[OPENED]
        opened.close()
        opened.enter_context(connect(num_cpus=N_CPUS))
        pytest.fail(f"the private Ray ended in this test, or in the one before: {reasons}")


@pytest.fixture(scope="module")
def no_private_ray(request: pytest.FixtureRequest) -> None:
    """Disconnects this process, for tests with their own cluster; the next module reconnects."""
    if OPENED in request.session.stash:
        request.session.stash[OPENED].close()
        del request.session.stash[OPENED]


NODE = {"node_ip_address": "127.0.0.1", "object_store_memory": 80 * 2**20}
"""Options of every simulated node."""


@pytest.fixture(scope="module")
def own_cluster(no_private_ray: None) -> Callable[..., AbstractContextManager[Any]]:
    """Returns `cluster(**head)`: a context manager that starts a Ray cluster and connects to it.

    The cluster listens on loopback, with its own token and temporary folder. Add nodes to what it
    yields with `add_node(**NODE, num_cpus=...)`.
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
        for name in ("ray._private.services", "ray.util"):  # else it uses another interface
            patch.setattr(f"{name}.get_node_ip_address", lambda *_: "127.0.0.1")
        for name in ("_private.utils.write_ray_address", "_common.utils.reset_ray_address"):
            patch.setattr(f"ray.{name}", lambda *_, **__: None)  # keeps the user's own cluster
        tokens.reload()
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
    tokens.reload()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Disconnects after the last test of this folder."""
    yield
    is_last = nextitem is None or Path(__file__).parent not in nextitem.path.parents
    if is_last and OPENED in item.session.stash:
        item.session.stash[OPENED].close()
        del item.session.stash[OPENED]
