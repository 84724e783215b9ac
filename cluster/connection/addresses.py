"""Addresses of clusters: what they mean, whether anybody answers, and whether for anybody at all.

Both ways in are tried as a stranger would, without a token: what a cluster says of itself is not
believed.
"""

import ipaddress
import socket
from urllib.parse import urlsplit

from chorale.cluster.base import ClusterError
from chorale.cluster.connection.tokens import MAKE_ONE, has_token

LOCAL = "local"
"""The address that starts a private Ray."""

PROCESSES = "processes"
"""The address of this machine's processors, with processes of our own and without Ray."""

AUTO = "auto"
"""The address that joins the cluster of this machine, or of the Ray job that this process is."""

PROBE_TIMEOUT_S = 5.0
"""How long a cluster may take to accept a connection or to answer."""

JOBS_PORT = 8265
"""Where the head of a cluster takes jobs, unless it was told another port."""

REMOTE = ("ray://", "http://", "https://")
"""Addresses that jobs are sent to; a sweep cannot be driven through them."""


def is_remote(address: str | None) -> bool:
    """Whether a sweep at this address is to be sent there as a job."""
    return address is not None and address.startswith(REMOTE)


def jobs_url(address: str) -> str:
    """The address of a cluster's job server: of `ray://HOST:10001` and `HOST`, its usual port.

    Raises:
        ClusterError: it names no host.
    """
    parts = urlsplit(address if "://" in address else f"http://{address}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if parts.scheme not in ("http", "https", "ray") or not host:
        raise ClusterError(
            f"expected the address of a cluster's job server, but got address={address!r}; "
            f"give one such as http://HOST:{JOBS_PORT}"
        )
    if parts.scheme == "ray":
        port = JOBS_PORT  # the other one is that of Ray's client server
    host = f"[{host}]" if ":" in host else host
    scheme = "https" if parts.scheme == "https" else "http"
    default = "" if scheme == "https" else f":{JOBS_PORT}"
    return f"{scheme}://{host}{f':{port}' if port else default}{parts.path.rstrip('/')}"


def is_loopback(host: str) -> bool:
    """Whether a host's name means this machine alone, wherever it is looked up."""
    try:
        found = socket.getaddrinfo(host, None)
    except OSError:
        return False
    return all(ipaddress.ip_address(entry[4][0]).is_loopback for entry in found)


def gcs_asks(host: str, port: int) -> bool:
    """Whether a cluster's control service (GCS) refuses who shows no token.

    Raises:
        ConnectionError: nobody answers there, or something else than Ray.
    """
    import grpc
    from ray.core.generated import gcs_service_pb2 as messages
    from ray.core.generated import gcs_service_pb2_grpc as services

    # as Ray's own calls: a proxy for web pages leads nowhere
    with grpc.insecure_channel(f"{host}:{port}", options=[("grpc.enable_http_proxy", 0)]) as way:
        try:
            services.NodeInfoGcsServiceStub(way).CheckAlive(
                messages.CheckAliveRequest(), timeout=PROBE_TIMEOUT_S
            )
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNAUTHENTICATED:
                return True
            raise ConnectionError(f"{error.code().name.lower()}: {error.details()}") from error
    return False


def server_asks(url: str) -> bool:
    """Whether a cluster's job server refuses who shows no token.

    Raises:
        ConnectionError: nobody answers there, or something else than Ray.
    """
    import requests

    try:
        answer = requests.get(f"{url}/api/version", timeout=PROBE_TIMEOUT_S)
    except requests.RequestException as error:
        raise ConnectionError(type(error).__name__) from error
    if answer.status_code in (401, 403):
        return True
    if not answer.ok or "ray_version" not in answer.text:
        raise ConnectionError(f"it answers {answer.status_code}, which is not a job server's word")
    return False


def refuse_open(where: str, host: str, *, asks: bool, allow_no_token: bool, flag: str) -> None:
    """Refuses a cluster that anybody can use, and one that asks for a token which is not here.

    Args:
        where: the address as the user gave it.
        host: where that is.
        asks: whether it refuses who shows no token.
        allow_no_token: the user wants it nonetheless.
        flag: what to type to say so.

    Raises:
        ClusterError: it is refused.
    """
    if asks and not has_token():
        raise ClusterError(
            f"the cluster at address={where!r} asks for a token, and there is none here; copy its "
            f"~/.ray/auth_token to this machine, or: export RAY_AUTH_TOKEN_PATH=FILE"
        )
    if not asks and not allow_no_token and not is_loopback(host):
        raise ClusterError(
            f"the cluster at address={where!r} asks for no token: whoever reaches {host} runs what "
            f"they like on it; make a token with {MAKE_ONE}, copy ~/.ray/auth_token to each "
            f"machine, and start it again with: RAY_AUTH_MODE=token ray start --head; or, where "
            f"nobody else can reach it, add {flag}"
        )
