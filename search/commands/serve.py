"""`chorale serve BUNDLE`: serves a bundle over HTTP, on this machine or on a cluster."""

import os
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chorale.datasets.errors import UserError
from chorale.search import garbage_collection
from chorale.search.commands.local_page import HOST, port_of
from chorale.search.commands.study_options import split_arguments
from chorale.search.http_server import port_taken

if TYPE_CHECKING:
    from chorale.search.champion.serve.factory import AppFactory

HELP = """\
usage: chorale serve BUNDLE [--host HOST] [--port N] [--token-file FILE] ...

Classifies recordings over HTTP: POST one to /predict, or upload it on the page at /. /healthz is a
health check, /metrics serves Prometheus, /openapi.json describes the API. It accepts connections
from this machine only, unless --host names another address; then a token is required.

  --host HOST          the address to listen on (127.0.0.1)
  --port N             the port; 0 takes any free one (8000)
  --token-file FILE    a file with the token that requests must send; else CHORALE_TOKEN, if set
  --allow-no-token     accept requests without a token; also use a cluster that requires none
  --library DIR        also return the most similar tracks of this library (chorale library add)
  --health-dir FOLDER  keep statistics of the answers there, without audio or names, for chorale
                       champion health; a champion's own is runs/champions/NAME/health
  --shadow BUNDLE      let another bundle, such as a night's candidate, predict the same recordings
                       later and in a process of its own: /metrics says how often it agrees, and
                       --health-dir keeps its statistics, too; answers do not wait for it
  --body-mb N          the largest request body (50)
  --duration-s N       the longest recording (600)
  --upload-s N         the time limit of an upload (60)
  --decode-s N         the time limit of decoding (20)
  --queue N            the most requests at once; others are rejected and may be retried (32)
  --batch N            the most recordings in one batch (8)
  --decoders N         the number of decoder processes (1)
  --address ADDRESS    serve on this Ray cluster (auto, or HOST:PORT), where BUNDLE exists on every
                       node; local starts a private Ray
  --replicas N         on a cluster: the number of replicas (2)
"""
LIMIT_OPTIONS = ("body-mb", "duration-s", "upload-s", "decode-s", "queue", "batch")
SERVE_OPTIONS = (
    "host", "port", "token-file", "library", "health-dir", "shadow", *LIMIT_OPTIONS, "decoders",
    "address", "replicas",
)  # fmt: skip
SERVE_FLAGS = ("allow-no-token",)
DEFAULT_SERVE_PORT = 8000
TOKEN_VARIABLE = "CHORALE_TOKEN"
SHUTDOWN_GRACE_S = 10


def run(args: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    places, options, flags = split_arguments(args, options=SERVE_OPTIONS, flags=SERVE_FLAGS)
    if len(places) != 1:
        raise UserError("expected one BUNDLE, a folder; make one with: chorale export STUDY")
    host = options.get("host", HOST)
    token = _token(options)
    refuse_open_host(host, token, allowed="allow-no-token" in flags)
    factory = _factory(places[0], options, token)
    port = port_of(options)
    port = DEFAULT_SERVE_PORT if port is None else port
    if "address" in options:
        return _serve_on_cluster(factory, host, port, options, flags)
    if "replicas" in options:
        raise UserError(
            "--replicas needs a cluster; give it with --address, or leave --replicas out"
        )
    return serve_here(factory, host, port)


def _serve_on_cluster(
    factory: "AppFactory",
    host: str,
    port: int,
    options: Mapping[str, str],
    flags: Sequence[str],
) -> int:
    """Serves replicas on a cluster until Ctrl-C or SIGTERM."""
    from chorale.cluster.serving.serve import serve_on_cluster
    from chorale.search.bundle.bundle import Bundle

    Bundle.open(factory.bundle)  # reports a damaged bundle before anything starts
    with _bind(host, port) as probe:
        port = int(probe.getsockname()[1])
    serve_on_cluster(
        factory,
        address=options["address"],
        required_folder=factory.bundle,
        host=host,
        port=port,
        replicas=int(_number(options, "replicas", 2)),
        queue=factory.limits.queue,
        body_bytes=factory.limits.body_bytes,
        allow_no_token="allow-no-token" in flags,
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


def _token(options: Mapping[str, str]) -> str | None:
    if "token-file" not in options:
        return os.environ.get(TOKEN_VARIABLE, "").strip() or None
    path = Path(options["token-file"]).expanduser()
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--token-file '{path}' cannot be read ({error})") from None
    if not token or len(token.split()) != 1:
        raise UserError(f"--token-file '{path}' should contain the token and nothing else")
    if path.stat().st_mode & 0o077:
        print(f"other users of this machine can read it: chmod 600 {path}", file=sys.stderr)
    return token


def _factory(bundle: str, options: Mapping[str, str], token: str | None) -> "AppFactory":
    from chorale.search.champion.serve.factory import AppFactory
    from chorale.search.champion.serve.limits import RequestLimits

    wanted: dict[str, Any] = {
        name.replace("-", "_"): _number(options, name, 0)
        for name in LIMIT_OPTIONS
        if name in options
    }
    wanted |= {name: int(wanted[name]) for name in ("queue", "batch") if name in wanted}
    return AppFactory(
        Path(bundle).expanduser().absolute(),
        RequestLimits(**wanted),
        token,
        int(_number(options, "decoders", 1)),
        *(
            Path(options[name]).expanduser().absolute() if name in options else None
            for name in ("library", "health-dir", "shadow")
        ),
    )


def _number(options: Mapping[str, str], name: str, default: float) -> float:
    text = options.get(name)
    if text is None:
        return default
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 < number < 1e9 or (number != int(number) and not name.endswith(("-s", "-mb"))):
        raise UserError(f"--{name} expected a number above 0, but got '{text}'")
    return number


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
