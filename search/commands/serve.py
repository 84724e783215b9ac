"""`chorale serve BUNDLE`: serves a bundle over HTTP, on this machine or on a cluster."""

import os
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chorale.datasets.errors import UserError
from chorale.search import garbage_collection
from chorale.search.champion.serve.limits import RequestLimits
from chorale.search.commands.command import command, require
from chorale.search.commands.local_page import HOST
from chorale.search.commands.parameters import (
    FILE,
    FOLDER,
    PORT,
    POSITIVE,
    WholeNumber,
    flag,
)
from chorale.search.http_server import port_taken

if TYPE_CHECKING:
    from chorale.search.champion.serve.factory import AppFactory

DEFAULT_REPLICAS = 2
TOKEN_VARIABLE = "CHORALE_TOKEN"
SHUTDOWN_GRACE_S = 10


@command(
    examples=[
        "chorale serve my_bundle",
        "chorale serve my_bundle --health-dir health --library my_library",
        "chorale serve my_bundle --health-dir health --shadow candidate",
        "chorale serve my_bundle --host 0.0.0.0 --token-file token --port 80",
        "chorale serve my_bundle --address auto --replicas 4",
    ]
)
@click.argument("bundle", type=FOLDER)
@click.option("--host", default=HOST, metavar="HOST", help="The address to listen on.")
@click.option(
    "--port", type=PORT, default=8000, metavar="N", help="The port; 0 takes any free one."
)
@click.option(
    "--token-file",
    type=FILE,
    metavar="FILE",
    help=f"A file with the token that requests must send; else {TOKEN_VARIABLE}, if set.",
)
@flag(
    "--allow-no-token",
    "Accept requests without a token; also use a cluster that requires none.",
)
@click.option(
    "--library",
    type=FOLDER,
    metavar="DIR",
    help="Also return the most similar tracks of this library (chorale library add).",
)
@click.option(
    "--health-dir",
    type=FOLDER,
    metavar="FOLDER",
    help="Keep statistics of the answers there, without audio or names, for chorale champion "
    "health; a champion's own is runs/champions/NAME/health.",
)
@click.option(
    "--shadow",
    type=FOLDER,
    metavar="BUNDLE",
    help="Let another bundle, such as a night's candidate, predict the same recordings, later and "
    "in a process of its own: /metrics says how often it agrees, and --health-dir keeps its "
    "statistics, too. Answers do not wait for it.",
)
@click.option(
    "--body-mb",
    type=POSITIVE,
    default=RequestLimits.body_mb,
    metavar="N",
    help="The largest request body.",
)
@click.option(
    "--duration-s",
    type=POSITIVE,
    default=RequestLimits.duration_s,
    metavar="N",
    help="The longest recording.",
)
@click.option(
    "--upload-s",
    type=POSITIVE,
    default=RequestLimits.upload_s,
    metavar="N",
    help="The time limit of an upload.",
)
@click.option(
    "--decode-s",
    type=POSITIVE,
    default=RequestLimits.decode_s,
    metavar="N",
    help="The time limit of decoding.",
)
@click.option(
    "--queue",
    type=WholeNumber(1),
    default=RequestLimits.queue,
    metavar="N",
    help="The most requests at once; others are rejected and may be retried.",
)
@click.option(
    "--batch",
    type=WholeNumber(1),
    default=RequestLimits.batch,
    metavar="N",
    help="The most recordings in one batch.",
)
@click.option(
    "--decoders",
    type=WholeNumber(1),
    default=1,
    metavar="N",
    help="The number of decoder processes.",
)
@click.option(
    "--address",
    metavar="ADDRESS",
    help="Serve on this Ray cluster (auto, or HOST:PORT), where BUNDLE exists on every node; local "
    "starts a private Ray.",
)
@click.option(
    "--replicas",
    type=WholeNumber(1),
    metavar="N",
    show_default=str(DEFAULT_REPLICAS),
    help="On a cluster: the number of replicas.",
)
def run(
    bundle: Path,
    host: str,
    port: int,
    token_file: Path | None,
    allow_no_token: bool,
    library: Path | None,
    health_dir: Path | None,
    shadow: Path | None,
    decoders: int,
    address: str | None,
    replicas: int | None,
    **limits: float,
) -> int:
    """Classifies recordings over HTTP.

    POST one to /predict, or upload it on the page at /. /healthz is a health check, /metrics serves
    Prometheus, /openapi.json describes the API. It accepts connections from this machine only,
    unless --host names another address; then a token is required.
    """
    from chorale.search.champion.serve.factory import AppFactory

    require(
        address is not None or replicas is None,
        "--replicas needs a cluster; give it with --address, or leave --replicas out",
    )
    token = _token(token_file)
    refuse_open_host(host, token, allowed=allow_no_token)
    factory = AppFactory(
        bundle.absolute(),
        RequestLimits(**limits),  # type: ignore[arg-type]
        token,
        decoders,
        *(None if path is None else path.absolute() for path in (library, health_dir, shadow)),
    )
    if address is None:
        return serve_here(factory, host, port)
    return _serve_on_cluster(
        factory,
        host,
        port,
        address=address,
        replicas=replicas or DEFAULT_REPLICAS,
        allow_no_token=allow_no_token,
    )


def _serve_on_cluster(
    factory: "AppFactory",
    host: str,
    port: int,
    *,
    address: str,
    replicas: int,
    allow_no_token: bool,
) -> int:
    """Serves replicas on a cluster until Ctrl-C or SIGTERM."""
    from chorale.cluster.serving.serve import serve_on_cluster
    from chorale.search.bundle.bundle import Bundle

    Bundle.open(factory.bundle)  # reports a damaged bundle before anything starts
    with _bind(host, port) as probe:
        port = int(probe.getsockname()[1])
    serve_on_cluster(
        factory,
        address=address,
        required_folder=factory.bundle,
        host=host,
        port=port,
        replicas=replicas,
        queue=factory.limits.queue,
        body_bytes=factory.limits.body_bytes,
        allow_no_token=allow_no_token,
    )
    return 0


def _missing(error: ImportError) -> str:
    from chorale.cluster.versions import install_extra_command

    command = install_extra_command("serve")
    return f"serving needs {error.name}, which is not installed; type: {command}"


def serve_here(factory: "AppFactory", host: str, port: int) -> int:
    """Serves until Ctrl-C or SIGTERM, which end it after the open requests."""
    try:
        import uvicorn
    except ImportError as error:
        raise UserError(_missing(error)) from None
    try:
        app = factory()
    except ImportError as error:
        raise UserError(_missing(error)) from None
    listening = _bind(host, port)
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{listening.getsockname()[1]}/"

    class Server(uvicorn.Server):
        """Prints its URL once it accepts requests."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            print(f"{app.title} {app.version}: {url}   (Ctrl-C ends it)", flush=True)

    garbage_collection.collect_normally()
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=SHUTDOWN_GRACE_S,
        h11_max_incomplete_event_size=2**16, server_header=False,
    )  # fmt: skip
    with suppress(KeyboardInterrupt):  # uvicorn raises it again after a clean shutdown
        Server(config).run(sockets=[listening])
    print("the server has ended")
    return 0


def refuse_open_host(host: str, token: str | None, *, allowed: bool) -> None:
    """Refuses to listen for other machines without a token.

    Raises:
        UserError: the host is not local, and there is neither a token nor the permission.
    """
    from chorale.cluster.connection.addresses import is_loopback

    if token or allowed or is_loopback(host):
        return
    raise UserError(
        f"--host {host} accepts other machines, and no token is set: write one to a file, "
        f"(umask 077; openssl rand -hex 32 > token), and add --token-file token; or, where "
        f"nobody else can reach it, add --allow-no-token"
    )


def _token(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get(TOKEN_VARIABLE, "").strip() or None
    try:
        token = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--token-file '{file}' cannot be read ({error})") from None
    if not token or len(token.split()) != 1:
        raise UserError(f"--token-file '{file}' should contain the token and nothing else")
    if file.stat().st_mode & 0o077:
        print(f"other users of this machine can read it: chmod 600 {file}", file=sys.stderr)
    return token


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        if isinstance(error, socket.gaierror):
            raise UserError(f"--host {host} is no address of this machine ({error})") from None
        if error.errno in (98, 48):
            raise port_taken(port) from None
        raise UserError(f"--host {host}, port {port}: {error.strerror}") from None
    return listening
