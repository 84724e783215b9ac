"""`chorale tensorboard STUDY [--port N]`: TensorBoard at the study's folder."""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path

from chorale.search.commands.serving import HOST, port_of, port_taken, wait
from chorale.search.commands.study_words import study_words

HELP = """\
usage: chorale tensorboard STUDY [--port N] [--runs FOLDER]

Shows a study in a browser, also while it runs: the curves of every trial (Scalars), its parameters
beside how it ended (HParams), confusion matrices (Images) and embeddings (Projector) of finalists,
of out-of-fold tracks. It answers on this machine only, and Ctrl-C ends it.

  --port N       where it listens; 0: any free port (6006, or the next that is free)
  --runs FOLDER  the folder of all studies (runs)
"""


def run(words: Sequence[str]) -> int:
    """Runs the command; gives its exit code."""
    if any(word in ("-h", "--help") for word in words):
        print(HELP)
        return 0
    given = study_words(words, options=["port"])
    port = port_of(given.options)
    name = given.named("tensorboard")
    folder = given.runs.study(name).root
    if not given.runs.study(name).sweep_yaml.is_file():
        raise _no_study(name, given.runs.root)
    wait("TensorBoard", _launch(folder, port))
    return 0


def _no_study(name: str, runs: Path) -> Exception:
    from chorale.datasets.errors import UserError, unknown

    known = [path.parent.name for path in runs.glob("*/sweep.yaml")]
    if not known:
        return UserError(
            f"there is no study in '{runs}'; start one with: chorale sweep, or say where it is "
            f"with --runs FOLDER"
        )
    return unknown("study", name, known)


def _launch(folder: Path, port: int | None) -> str:
    """Serves from a thread of this process; gives the URL."""
    from chorale.datasets.errors import UserError

    # it tells on standard error what it lacks and how it reads, which is of no use to anybody here
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
