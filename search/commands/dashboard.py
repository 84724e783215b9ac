"""`chorale dashboard STUDY`: optuna-dashboard, read-only on the ledger."""

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import click

from chorale.cluster.versions import install_extra_command
from chorale.datasets.errors import UserError
from chorale.search.commands.command import command
from chorale.search.commands.local_page import HOST, wait_for_interrupt
from chorale.search.commands.parameters import PORT
from chorale.search.commands.study_options import StudyOptions, study_options
from chorale.search.http_server import WsgiApp, serving

READ_METHODS = ("GET", "HEAD")


@command(examples=["chorale dashboard my_study", "chorale dashboard my_study --port 0"])
@click.option("--port", type=PORT, default=8080, metavar="N", help="The port; 0: any free port.")
@study_options()
def run(given: StudyOptions, port: int) -> int:
    """Shows the trials of a study in optuna-dashboard, also while it runs.

    It has the history, importances, parallel coordinates, and every trial. It needs the extra
    dashboard. The ledger is only read: requests that would change it are refused. It listens on
    this machine only, and Ctrl-C stops it.
    """
    with given.open() as ledger:
        ledger.study(given.name)
    try:
        from optuna_dashboard import wsgi
    except ImportError:
        raise UserError(
            f"optuna-dashboard is not installed; type: {install_extra_command('dashboard')}"
        ) from None
    from chorale.search.ledger.optuna_view import open_view

    storage = open_view(given.store or given.runs.ledger_url)
    try:
        number = storage.get_study_id_from_name(given.name)
    except KeyError:
        raise UserError(f"study '{given.name}' has no trials yet; try again in a moment") from None
    # the pages themselves show which plots need more trials
    warnings.filterwarnings("ignore", module="optuna")
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
