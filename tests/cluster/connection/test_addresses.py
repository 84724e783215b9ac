import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chorale.cluster.base import ClusterError
from chorale.cluster.connection.addresses import (
    gcs_requires_token,
    is_loopback,
    is_remote,
    job_server_requires_token,
    job_server_url,
    require_authentication,
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
def test_job_server_url_of_an_address(address: str, url: str) -> None:
    assert job_server_url(address) == url


@pytest.mark.parametrize("address", ["", "http://", "ftp://head:21", "http://head:port"])
def test_an_invalid_address_is_refused_with_a_valid_example(address: str) -> None:
    with pytest.raises(ClusterError, match="give one such as http://HOST:8265"):
        job_server_url(address)


@pytest.mark.parametrize(
    ("address", "remote"),
    [("ray://head:10001", True), ("http://head:8265", True), ("auto", False), (None, False)],
)
def test_is_remote_is_true_for_addresses_that_accept_jobs(
    address: str | None, remote: bool
) -> None:
    assert is_remote(address) is remote


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("192.0.2.1", False), ("no.such.invalid", False)],
)
def test_is_loopback_is_true_for_loopback_hosts_only(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_a_cluster_without_authentication_is_refused_unless_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "x")
    with pytest.raises(ClusterError, match=r"requires no token.*--flag$"):
        require_authentication(
            "head:1", "192.0.2.1", requires_token=False, allow_no_token=False, flag="--flag"
        )
    require_authentication(
        "head:1", "192.0.2.1", requires_token=False, allow_no_token=True, flag="--flag"
    )
    require_authentication(
        "head:1", "127.0.0.1", requires_token=False, allow_no_token=False, flag="--flag"
    )
    require_authentication(
        "head:1", "192.0.2.1", requires_token=True, allow_no_token=False, flag="--flag"
    )


def test_a_cluster_that_requires_a_missing_token_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(ClusterError, match="requires a token, and there is none here"):
        require_authentication(
            "head:1", "127.0.0.1", requires_token=True, allow_no_token=False, flag="--flag"
        )


@pytest.fixture
def other_server() -> Iterator[str]:
    """An HTTP server that is not Ray's."""
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_another_http_server_is_not_taken_for_a_job_server(other_server: str) -> None:
    with pytest.raises(ConnectionError, match="404"):
        job_server_requires_token(other_server)


def test_a_port_without_rays_protocol_is_not_taken_for_a_cluster() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(ConnectionError):
        gcs_requires_token("127.0.0.1", port)
