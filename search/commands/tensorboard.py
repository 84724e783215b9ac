"""`chorale tensorboard STUDY [--port N]`: serves TensorBoard for a study's folder."""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path

from chorale.search.commands.local_page import HOST, port_of, wait_for_interrupt
from chorale.search.commands.study_options import parse_study_options
from chorale.search.http_server import port_taken

HELP = """\
usage: chorale tensorboard STUDY [--port N] [--runs FOLDER]

Shows a study in TensorBoard, also while it runs: the curves of every trial (Scalars), its
parameters and final metrics (HParams), and the confusion matrices (Images) and embeddings
(Projector) of finalists on out-of-fold tracks. It listens on this machine only, and Ctrl-C stops
it.

  --port N       the port; 0: any free port (6006, or the next free one)
  --runs FOLDER  the folder of all studies (runs)
"""


def run(args: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    given = parse_study_options(args, options=["port"])
    port = port_of(given.options)
    name = given.require_name("tensorboard")
    folder = given.runs.study(name).root
    if not given.runs.study(name).sweep_yaml.is_file():
        raise _no_study(name, given.runs.root)
    wait_for_interrupt("TensorBoard", _launch(folder, port))
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
