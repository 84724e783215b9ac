"""`chorale dashboard STUDY [--port N]`: optuna-dashboard, read-only on the ledger."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from chorale.cluster.versions import install_extra_command
from chorale.datasets.errors import UserError
from chorale.search.commands.local_page import HOST, port_of, wait_for_interrupt
from chorale.search.commands.study_options import parse_study_options
from chorale.search.http_server import WsgiApp, serving

HELP = """\
usage: chorale dashboard STUDY [--port N] [--runs FOLDER] [--store URL]

Shows the trials of a study in optuna-dashboard, also while it runs: history, importances, parallel
coordinates, every trial. It needs the extra `dashboard`. The ledger is only read: requests that
would change it are refused. It listens on this machine only, and Ctrl-C stops it.

  --port N       the port; 0: any free port (8080)
  --runs FOLDER  the folder of all studies (runs)
  --store URL    the ledger, where it is not in that folder
"""
DEFAULT_DASHBOARD_PORT = 8080
READ_METHODS = ("GET", "HEAD")


def run(args: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    given = parse_study_options(args, options=["port"])
    port = port_of(given.options)
    name = given.require_name("dashboard")
    with given.open() as ledger:
        ledger.study(name)
    try:
        from optuna_dashboard import wsgi
    except ImportError:
        raise UserError(
            f"optuna-dashboard is not installed; type: {install_extra_command('dashboard')}"
        ) from None
    from chorale.search.ledger.optuna_view import open_view

    storage = open_view(given.options.get("store") or given.runs.ledger_url)
    try:
        number = storage.get_study_id_from_name(name)
    except KeyError:
        raise UserError(f"study '{name}' has no trials yet; try again in a moment") from None
    # the pages themselves show which plots need more trials
    warnings.filterwarnings("ignore", module="optuna")
    port = DEFAULT_DASHBOARD_PORT if port is None else port
    with serving(read_only(wsgi(storage)), host=HOST, port=port) as url:
        wait_for_interrupt("optuna-dashboard", f"{url}/dashboard/studies/{number}")
    return 0


def read_only(app: WsgiApp) -> WsgiApp:
    """The app with GET and HEAD only: a sweep's ledger must not be changed from outside."""

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in READ_METHODS:
            return app(environ, start)
        start("403 Forbidden", [("Content-Type", "application/json")])
        return [b'{"reason": "chorale dashboard only reads"}']

    return answer
