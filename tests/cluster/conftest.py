"""One private Ray for all tests of this folder; it is gone before another folder's tests begin."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

N_CPUS = 2

OPENED = pytest.StashKey[ExitStack]()


@pytest.fixture(scope="module")
def private_ray(request: pytest.FixtureRequest) -> None:
    """Connects this process to a private Ray, if it is not connected by an earlier test."""
    from cluster.connect import connect

    if OPENED not in request.session.stash:
        opened = request.session.stash[OPENED] = ExitStack()
        opened.enter_context(connect(num_cpus=N_CPUS))


@pytest.fixture(scope="module")
def no_private_ray(request: pytest.FixtureRequest) -> None:
    """Disconnects this process, for tests that bring a cluster; the next module connects again."""
    if OPENED in request.session.stash:
        request.session.stash[OPENED].close()
        del request.session.stash[OPENED]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Disconnects after the last test of this folder."""
    yield
    is_last = nextitem is None or Path(__file__).parent not in nextitem.path.parents
    if is_last and OPENED in item.session.stash:
        item.session.stash[OPENED].close()
        del item.session.stash[OPENED]
