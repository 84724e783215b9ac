"""`chorale dashboard STUDY [--port N]`: optuna-dashboard on the ledger, where it is installed."""

import errno
import threading
import warnings
from collections.abc import Callable, Iterable, Sequence
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from chorale.cluster.versions import install_extra
from chorale.datasets.errors import UserError
from chorale.search.commands.serving import HOST, port_of, port_taken, wait
from chorale.search.commands.study_words import study_words

HELP = """\
usage: chorale dashboard STUDY [--port N] [--runs FOLDER] [--store URL]

Shows the trials of a study in optuna-dashboard, also while it runs: history, importances, parallel
coordinates, every trial. It needs the extra `dashboard`. The ledger is only read, so
what the pages offer to change is refused. It answers on this machine only, and Ctrl-C ends it.

  --port N       where it listens; 0: any free port (8080)
  --runs FOLDER  the folder of all studies (runs)
  --store URL    the ledger, where it is not in that folder
"""
PORT = 8080
READING = ("GET", "HEAD")

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def run(words: Sequence[str]) -> int:
    """Runs the command; gives its exit code."""
    if any(word in ("-h", "--help") for word in words):
        print(HELP)
        return 0
    given = study_words(words, options=["port"])
    port = port_of(given.options)
    name = given.named("dashboard")
    ledger = given.open()
    try:
        ledger.study(name)
    finally:
        ledger.close()
    try:
        from optuna_dashboard import wsgi
    except ImportError:
        raise UserError(
            f"optuna-dashboard is not installed; type: {install_extra('dashboard')}"
        ) from None
    from chorale.search.ledger.optuna_view import open_view

    storage = open_view(given.options.get("store") or given.runs.ledger_url)
    try:
        number = storage.get_study_id_from_name(name)
    except KeyError:
        raise UserError(f"study '{name}' has no trials yet; try again in a moment") from None
    # the pages say themselves what cannot be said of few trials
    warnings.filterwarnings("ignore", module="optuna")
    server = _listen(only_reading(wsgi(storage)), PORT if port is None else port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://{HOST}:{server.server_port}/dashboard/studies/{number}"
    wait("optuna-dashboard", url)
    return 0


def only_reading(app: App) -> App:
    """The same pages without what changes anything: the ledger is the truth of a sweep."""

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in READING:
            return app(environ, start)
        start("403 Forbidden", [("Content-Type", "application/json")])
        return [b'{"reason": "chorale dashboard only reads"}']

    return answer


class _Server(ThreadingMixIn, WSGIServer):
    """Several requests at a time, none of which outlives the command."""

    daemon_threads = True
    allow_reuse_address = True


class _Quiet(WSGIRequestHandler):
    """Says nothing of requests that went well."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing."""


def _listen(app: App, port: int) -> WSGIServer:
    try:
        return make_server(HOST, port, app, server_class=_Server, handler_class=_Quiet)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise port_taken(port) from None
        raise UserError(
            f"port {port} cannot be used ({error.strerror}); choose another with --port"
        ) from None
