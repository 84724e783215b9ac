"""Cluster addresses: parsing, and probes that tell whether a cluster requires authentication.

The control service (GCS) and the job server are both probed without a token, as an unauthorised
client would; a cluster's own statement about its settings is not used.
"""

import ipaddress
import socket
from urllib.parse import urlsplit

from chorale.cluster.base import ClusterError
from chorale.cluster.connection.tokens import MAKE_TOKEN_COMMAND, has_token

LOCAL_ADDRESS = "local"
"""Starts a private Ray on this machine."""

PROCESSES_ADDRESS = "processes"
"""Runs trials in local processes without Ray."""

AUTO_ADDRESS = "auto"
"""Joins the cluster that runs on this machine, or that of the Ray job that this process runs in."""

PROBE_TIMEOUT_S = 5.0
"""Timeout for connecting to a cluster and for its answer."""

JOB_SERVER_PORT = 8265
"""Ray's default port for the job server (dashboard) on the head node."""

REMOTE_SCHEMES = ("ray://", "http://", "https://")
"""Addresses that accept submitted jobs; a driver cannot connect through them."""


def is_remote(address: str | None) -> bool:
    """Whether a sweep for this address must be submitted as a job."""
    return address is not None and address.startswith(REMOTE_SCHEMES)


def job_server_url(address: str) -> str:
    """The URL of a cluster's job server; `ray://HOST:10001` and `HOST` get the default port.

    Raises:
        ClusterError: the address has no host.
    """
    parts = urlsplit(address if "://" in address else f"http://{address}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if parts.scheme not in ("http", "https", "ray") or not host:
        raise ClusterError(
            f"expected the address of a cluster's job server, but got address={address!r}; "
            f"give one such as http://HOST:{JOB_SERVER_PORT}"
        )
    if parts.scheme == "ray":
        port = JOB_SERVER_PORT  # the given port is the Ray Client server's
    host = f"[{host}]" if ":" in host else host
    scheme = "https" if parts.scheme == "https" else "http"
    default = "" if scheme == "https" else f":{JOB_SERVER_PORT}"
    return f"{scheme}://{host}{f':{port}' if port else default}{parts.path.rstrip('/')}"


def is_loopback(host: str) -> bool:
    """Whether a host resolves to loopback addresses only."""
    try:
        found = socket.getaddrinfo(host, None)
    except OSError:
        return False
    return all(ipaddress.ip_address(entry[4][0]).is_loopback for entry in found)


def gcs_requires_token(host: str, port: int) -> bool:
    """Whether a cluster's control service (GCS) refuses requests without a token.

    Raises:
        ConnectionError: there is no answer, or not from Ray.
    """
    import grpc
    from ray.core.generated import gcs_service_pb2 as messages
    from ray.core.generated import gcs_service_pb2_grpc as services

    # Like Ray's own calls, this bypasses the HTTP proxy.
    options = [("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(f"{host}:{port}", options=options) as channel:
        try:
            services.NodeInfoGcsServiceStub(channel).CheckAlive(
                messages.CheckAliveRequest(), timeout=PROBE_TIMEOUT_S
            )
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNAUTHENTICATED:
                return True
            raise ConnectionError(f"{error.code().name.lower()}: {error.details()}") from error
    return False


def job_server_requires_token(url: str) -> bool:
    """Whether a cluster's job server refuses requests without a token.

    Raises:
        ConnectionError: there is no answer, or not from Ray.
    """
    import requests

    try:
        answer = requests.get(f"{url}/api/version", timeout=PROBE_TIMEOUT_S)
    except requests.RequestException as error:
        raise ConnectionError(type(error).__name__) from error
    if answer.status_code in (401, 403):
        return True
    if not answer.ok or "ray_version" not in answer.text:
        raise ConnectionError(f"HTTP status {answer.status_code}, not the answer of a job server")
    return False


def require_authentication(
    address: str, host: str, *, requires_token: bool, allow_no_token: bool, flag: str
) -> None:
    """Refuses a cluster without authentication, and one whose token is missing here.

    Args:
        address: as the user gave it.
        host: the host of that address.
        requires_token: whether the cluster refuses requests without a token.
        allow_no_token: accept a cluster without authentication that other machines can reach.
        flag: the command-line flag that sets `allow_no_token`.

    Raises:
        ClusterError: it is refused.
    """
    if requires_token and not has_token():
        raise ClusterError(
            f"the cluster at {address=} requires a token, and there is none here; copy its "
            f"~/.ray/auth_token to this machine, or: export RAY_AUTH_TOKEN_PATH=FILE"
        )
    if not requires_token and not allow_no_token and not is_loopback(host):
        raise ClusterError(
            f"the cluster at {address=} requires no token: anybody who reaches {host} can run code "
            f"on it; make a token with {MAKE_TOKEN_COMMAND}, copy ~/.ray/auth_token to each "
            f"machine, and start it again with: RAY_AUTH_MODE=token ray start --head; or, if "
            f"nobody else can reach it, add {flag}"
        )
