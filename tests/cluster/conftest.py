"""One private Ray for all tests of this folder, stopped before another folder's tests begin.

Also clusters of several nodes on this machine, for tests that need them.
"""

import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

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
        patch.setenv("RAY_worker_niceness", "0")  # as in a private Ray, beside busy test workers
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


class TwoNodes(NamedTuple):
    """A cluster of two nodes of one CPU each."""

    cluster: Any
    hidden: Path | None
    """a folder that the second node, which has a simulated GPU, does not see; None if this user
    cannot hide a folder from a process"""


SHARED_NODES = pytest.StashKey[tuple[ExitStack, TwoNodes]]()


@pytest.fixture(scope="module")
def shared_nodes(
    request: pytest.FixtureRequest,
    own_cluster: Callable[..., AbstractContextManager[Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> TwoNodes:
    """One such cluster for consecutive tests, also of several modules."""
    stash = request.session.stash
    if SHARED_NODES not in stash:
        opened, root = ExitStack(), tmp_path_factory.mktemp("nodes")
        made = opened.enter_context(own_cluster(num_cpus=1))
        stash[SHARED_NODES] = opened, TwoNodes(made, _add_blind_node(made, root))
    return stash[SHARED_NODES][1]


def _add_blind_node(made: Any, root: Path) -> Path | None:
    """Adds a node for which a tmpfs is mounted over a folder in `root`."""
    from ray._private import services

    (hidden := root / "runs").mkdir()
    over = ["unshare", "-m", "--propagation", "private", "sh", "-c"]
    over += ['mount -t tmpfs none "$0" && exec "$@"', str(hidden)]
    able = shutil.which("unshare") and not subprocess.run([*over, "true"], check=False).returncode
    start = services.start_ray_process

    def start_blind(command: list[str], process_type: str, *args: Any, **kwargs: Any) -> Any:
        prefix = over if able and process_type == "raylet" else []
        return start([*prefix, *command], process_type, *args, **kwargs)

    (root / "node").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(services, "start_ray_process", start_blind)
        patch.setenv("TMPDIR", str(root / "node"))
        made.add_node(**NODE, num_cpus=1, num_gpus=1)
    return hidden if able else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Disconnects after the last test of this folder, and from two nodes before others begin."""
    yield
    if SHARED_NODES in item.session.stash and (
        nextitem is None or "shared_nodes" not in getattr(nextitem, "fixturenames", ())
    ):
        item.session.stash[SHARED_NODES][0].close()
        del item.session.stash[SHARED_NODES]
    is_last = nextitem is None or Path(__file__).parent not in nextitem.path.parents
    if is_last and OPENED in item.session.stash:
        item.session.stash[OPENED].close()
        del item.session.stash[OPENED]
