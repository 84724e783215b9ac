"""`chorale tensorboard STUDY`: serves TensorBoard for a study's folder."""

import contextlib
import io
from pathlib import Path

import click

from chorale.search.commands.command import command
from chorale.search.commands.local_page import HOST, wait_for_interrupt
from chorale.search.commands.parameters import PORT
from chorale.search.commands.study_options import StudyOptions, study_options
from chorale.search.http_server import port_taken


@command(examples=["chorale tensorboard my_study", "chorale tensorboard my_study --port 0"])
@click.option(
    "--port",
    type=PORT,
    metavar="N",
    show_default="6006, or the next free one",
    help="The port; 0: any free port.",
)
@study_options()
def run(given: StudyOptions, port: int | None) -> int:
    """Shows a study in TensorBoard, also while it runs.

    It has the curves of every trial (Scalars), its parameters and final metrics (HParams), and the
    confusion matrices (Images) and embeddings (Projector) of finalists on out-of-fold tracks. It
    listens on this machine only, and Ctrl-C stops it.
    """
    paths = given.runs.study(given.name)
    if not paths.sweep_yaml.is_file():
        raise _no_study(given.name, given.runs.root)
    wait_for_interrupt("TensorBoard", _launch(paths.root, port))
    return 0


def _no_study(name: str, runs: Path) -> Exception:
    from chorale.datasets.errors import UserError, unknown_name_error

    known = [path.parent.name for path in runs.glob("*/sweep.yaml")]
    if not known:
        return UserError(
            f"there is no study in '{runs}'; start one with: chorale sweep, or give another folder "
            f"with --runs FOLDER"
        )
    return unknown_name_error("study", name, known)


def _launch(folder: Path, port: int | None) -> str:
    """Serves from a thread of this process; returns the URL."""
    from chorale.datasets.errors import UserError

    # TensorBoard's notes on standard error about missing and slow extras do not concern the user
    with contextlib.redirect_stderr(io.StringIO()):
        from tensorboard import program

        server = program.TensorBoard()
        server.configure(logdir=str(folder), host=HOST, port=port)
        try:
            return str(server.launch())
        except program.TensorBoardPortInUseError:
            raise port_taken(port or 0) from None
        except program.TensorBoardServerException as error:
            raise UserError(f"TensorBoard cannot start: {error.msg}") from None
