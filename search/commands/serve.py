"""`chorale serve BUNDLE`: a bundle behind HTTP, on this machine or on a cluster."""

import os
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chorale.datasets.errors import UserError
from chorale.search import collecting
from chorale.search.commands.serving import HOST, port_of, port_taken
from chorale.search.commands.study_words import split_words

if TYPE_CHECKING:
    from chorale.search.champion.serve.factory import AppFactory

HELP = """\
usage: chorale serve BUNDLE [--host HOST] [--port N] [--token-file FILE] ...

Says over HTTP what recordings are: POST one to /predict, or open the page at / and drop it there.
/healthz says whether it is up, /metrics counts for Prometheus, /openapi.json describes it all. Only
this machine is let in unless --host says otherwise, and then a token is asked for.

  --host HOST          where to listen (127.0.0.1)
  --port N             on which port; 0 takes any that is free (8000)
  --token-file FILE    a file with the token that requests must show; else CHORALE_TOKEN, if set
  --allow-no-token     let everybody in who reaches HOST, without a token; on a cluster that asks
                       for none, too
  --library DIR        also say which tracks of this library are most similar (chorale library add)
  --body-mb N          the longest body (50)
  --duration-s N       the longest recording (600)
  --upload-s N         how long a body may take to arrive (60)
  --decode-s N         how long decoding may take (20)
  --queue N            so many requests at once; the others are told to come again (32)
  --batch N            so many recordings are judged together where they wait (8)
  --decoders N         so many processes decode (1)
  --address ADDRESS    serve it on this Ray cluster (auto, or HOST:PORT), where BUNDLE lies on every
                       node; local starts a private Ray
  --replicas N         on a cluster: so many copies of the bundle (2)
"""
LIMITS = ("body-mb", "duration-s", "upload-s", "decode-s", "queue", "batch")
OPTIONS = (
    "host", "port", "token-file", "library", *LIMITS, "decoders", "address", "replicas",
)  # fmt: skip
FLAGS = ("allow-no-token",)
PORT = 8000
TOKEN = "CHORALE_TOKEN"
GRACE_S = 10


def run(words: Sequence[str]) -> int:
    """Runs the command; gives its exit code."""
    if any(word in ("-h", "--help") for word in words):
        print(HELP)
        return 0
    places, options, flags = split_words(words, options=OPTIONS, flags=FLAGS)
    if len(places) != 1:
        raise UserError("expected one BUNDLE, a folder; make one with: chorale export STUDY")
    host = options.get("host", HOST)
    token = _token(options)
    refuse_open(host, token, allowed="allow-no-token" in flags)
    factory = _factory(places[0], options, token)
    port = port_of(options)
    port = PORT if port is None else port
    if "address" in options:
        return _serve_there(factory, host, port, options, flags)
    if "replicas" in options:
        raise UserError(
            "--replicas are those of a cluster; name it with --address, or leave it out"
        )
    return serve_here(factory, host, port)


def _serve_there(
    factory: "AppFactory",
    host: str,
    port: int,
    options: Mapping[str, str],
    flags: Sequence[str],
) -> int:
    """Replicas on a cluster, until Ctrl-C or SIGTERM."""
    from chorale.cluster.serving.serve import serve_on
    from chorale.search.bundle.bundle import Bundle

    Bundle.open(factory.bundle)  # what is wrong with it is better told before anything starts
    with _listen(host, port) as probe:
        port = int(probe.getsockname()[1])
    serve_on(
        factory,
        address=options["address"],
        needs=factory.bundle,
        host=host,
        port=port,
        replicas=int(_number(options, "replicas", 2)),
        queue=factory.limits.queue,
        body_bytes=factory.limits.body_bytes,
        allow_no_token="allow-no-token" in flags,
    )
    return 0


def _missing(error: ImportError) -> str:
    from chorale.cluster.versions import install_extra

    return f"serving needs {error.name}, which is not installed; type: {install_extra('serve')}"


def serve_here(factory: "AppFactory", host: str, port: int) -> int:
    """Listens until Ctrl-C or SIGTERM, which end it after what it is at."""
    try:
        import uvicorn
    except ImportError as error:
        raise UserError(_missing(error)) from None
    try:
        app = factory()
    except ImportError as error:
        raise UserError(_missing(error)) from None
    listening = _listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{listening.getsockname()[1]}/"

    class Server(uvicorn.Server):
        """Says where it is when it can be asked."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            print(f"{app.title} {app.version}: {url}   (Ctrl-C ends it)", flush=True)

    collecting.as_usual()
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE_S,
        h11_max_incomplete_event_size=2**16, server_header=False,
    )  # fmt: skip
    with suppress(KeyboardInterrupt):  # uvicorn, once it has ended in order, raises it again
        Server(config).run(sockets=[listening])
    print("the server has ended")
    return 0


def refuse_open(host: str, token: str | None, *, allowed: bool) -> None:
    """Refuses to listen for other machines without a token.

    Raises:
        UserError: it would.
    """
    from chorale.cluster.connection.addresses import is_loopback

    if token or allowed or is_loopback(host):
        return
    raise UserError(
        f"--host {host} lets other machines in, and no token is set: put one into a file, "
        f"(umask 077; openssl rand -hex 32 > token), and add --token-file token; or, where "
        f"nobody else can reach it, add --allow-no-token"
    )


def _token(options: Mapping[str, str]) -> str | None:
    if "token-file" not in options:
        return os.environ.get(TOKEN, "").strip() or None
    path = Path(options["token-file"]).expanduser()
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--token-file '{path}' cannot be read ({error})") from None
    if not token or len(token.split()) != 1:
        raise UserError(f"--token-file '{path}' should hold one word, the token")
    if path.stat().st_mode & 0o077:
        print(f"others on this machine can read it: chmod 600 {path}", file=sys.stderr)
    return token


def _factory(bundle: str, options: Mapping[str, str], token: str | None) -> "AppFactory":
    from chorale.search.champion.serve.factory import AppFactory
    from chorale.search.champion.serve.limits import Limits

    wanted: dict[str, Any] = {
        name.replace("-", "_"): _number(options, name, 0) for name in LIMITS if name in options
    }
    wanted |= {name: int(wanted[name]) for name in ("queue", "batch") if name in wanted}
    return AppFactory(
        Path(bundle).expanduser().absolute(),
        Limits(**wanted),
        token,
        int(_number(options, "decoders", 1)),
        Path(options["library"]).expanduser().absolute() if "library" in options else None,
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


def _listen(host: str, port: int) -> socket.socket:
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
