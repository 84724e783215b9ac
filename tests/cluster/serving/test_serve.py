"""Replicas of any ASGI app under Ray Serve, on the private Ray of these tests."""

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chorale.cluster.base import ClusterError
from chorale.cluster.serving import serve

pytestmark = [pytest.mark.ray, pytest.mark.heavy, pytest.mark.timeout(300)]


@pytest.fixture(scope="module", autouse=True)
def by_value(private_ray: None) -> Iterator[None]:
    from ray import cloudpickle

    pytest.importorskip("ray.serve", reason="Ray Serve is not installed")  # imports for seconds
    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)  # replicas cannot import tests
    yield
    cloudpickle.unregister_pickle_by_value(module)


class PidApp:
    """A factory of an app that answers with its process id."""

    def __call__(self) -> Any:
        import fastapi

        app = fastapi.FastAPI()
        app.get("/")(lambda: {"pid": os.getpid()})
        return app


class FailingApp:
    def __call__(self) -> Any:
        raise ValueError("the folder is empty")


def deployed(factory: Any, *, port: int, replicas: int = 1) -> Any:
    return serve.deploy(
        factory, host="127.0.0.1", port=port, replicas=replicas, queue=4, body_bytes=1000
    )


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_an_app_answers_while_deployed_and_not_afterwards() -> None:
    with deployed(PidApp(), port=free_port()) as url:
        with urllib.request.urlopen(url, timeout=60) as answer:
            assert json.loads(answer.read())["pid"] != os.getpid()
        with (
            pytest.raises(ClusterError, match="runs another Ray Serve app"),
            deployed(PidApp(), port=free_port()),
        ):
            pass
        with urllib.request.urlopen(url, timeout=60) as answer:
            assert answer.status == 200, "the refusal has no effect on the first app"
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=5)


def test_an_app_that_cannot_be_started_is_reported_in_one_line() -> None:
    with (
        pytest.raises(ClusterError, match="cannot be started on the cluster: the folder is empty"),
        deployed(FailingApp(), port=free_port()),
    ):
        pass


def test_more_replicas_than_cpus_are_refused() -> None:
    with (
        pytest.raises(ClusterError, match="each replica takes a CPU, and there are 2"),
        deployed(PidApp(), port=free_port(), replicas=3),
    ):
        pass


def test_a_folder_that_a_node_lacks_is_reported(tmp_path: Path) -> None:
    serve._check_nodes(tmp_path)
    with pytest.raises(ClusterError, match=r"every node needs .*, but [\d.]+ does not have it"):
        serve._check_nodes(tmp_path / "nowhere")
