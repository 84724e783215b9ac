import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chorale.cluster.base import ClusterError
from chorale.cluster.connection.addresses import (
    gcs_asks,
    is_loopback,
    is_remote,
    jobs_url,
    refuse_open,
    server_asks,
)


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("http://head:8265", "http://head:8265"),
        ("http://head:8265/", "http://head:8265"),
        ("http://head", "http://head:8265"),
        ("head", "http://head:8265"),
        ("head:9999", "http://head:9999"),
        ("ray://head:10001", "http://head:8265"),
        ("https://ray.example.com/team", "https://ray.example.com/team"),
        ("http://[::1]:8265", "http://[::1]:8265"),
    ],
)
def test_the_job_server_of_an_address(address: str, url: str) -> None:
    assert jobs_url(address) == url


@pytest.mark.parametrize("address", ["", "http://", "ftp://head:21", "http://head:port"])
def test_what_is_no_address_is_refused_with_one_that_is(address: str) -> None:
    with pytest.raises(ClusterError, match="give one such as http://HOST:8265"):
        jobs_url(address)


@pytest.mark.parametrize(
    ("address", "remote"),
    [("ray://head:10001", True), ("http://head:8265", True), ("auto", False), (None, False)],
)
def test_what_a_job_is_sent_to(address: str | None, remote: bool) -> None:
    assert is_remote(address) is remote


@pytest.mark.parametrize(
    ("host", "here"),
    [("127.0.0.1", True), ("::1", True), ("192.0.2.1", False), ("no.such.invalid", False)],
)
def test_loopback_is_this_machine_alone(host: str, here: bool) -> None:
    assert is_loopback(host) is here


def test_a_cluster_open_to_all_is_refused_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "x")
    with pytest.raises(ClusterError, match=r"asks for no token.*--flag$"):
        refuse_open("head:1", "192.0.2.1", asks=False, allow_no_token=False, flag="--flag")
    refuse_open("head:1", "192.0.2.1", asks=False, allow_no_token=True, flag="--flag")
    refuse_open("head:1", "127.0.0.1", asks=False, allow_no_token=False, flag="--flag")
    refuse_open("head:1", "192.0.2.1", asks=True, allow_no_token=False, flag="--flag")


def test_a_token_that_is_asked_for_and_is_not_here_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(ClusterError, match="asks for a token, and there is none here"):
        refuse_open("head:1", "127.0.0.1", asks=True, allow_no_token=False, flag="--flag")


@pytest.fixture
def other_server() -> Iterator[str]:
    """Something that speaks HTTP and is not Ray."""
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_another_server_is_not_taken_for_a_cluster(other_server: str) -> None:
    with pytest.raises(ConnectionError, match="404"):
        server_asks(other_server)


def test_a_port_where_nobody_speaks_rays_protocol_is_no_cluster() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(ConnectionError):
        gcs_asks("127.0.0.1", port)
