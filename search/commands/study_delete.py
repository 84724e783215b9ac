"""`chorale study delete STUDY ... [--yes]`: removes studies with their files."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from chorale.search.commands.study_options import StudyOptions, console, split_arguments

HELP = """\
usage: chorale study delete STUDY [STUDY ...] [--yes] [--take-over] [--runs FOLDER]
                            [--store URL]

Removes studies: their trials in the ledger and their folder, with all weights, predictions and
reports. Cached features stay (chorale data prune removes those), and so do bundles, which are
copies: champions, and what was exported elsewhere. Their evaluations of locked test sets stay
counted. A running study is refused. Without --yes nothing is removed: what would be is listed.

  --yes          removes them; this cannot be undone
  --take-over    also a study that a process seems to run, which you know has ended
  --runs FOLDER  the folder of all studies (runs)
  --store URL    the ledger, where it is not in that folder
"""


def run(args: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    from chorale.datasets.errors import UserError
    from chorale.search.ledger.ledger import Ledger
    from chorale.search.paths import folder_bytes

    names, options, flags = split_arguments(
        args, options=("runs", "store"), flags=("yes", "take-over")
    )
    given = StudyOptions(None, options, flags)
    if not names:
        raise UserError(
            "expected the name of a study; type: chorale study delete STUDY (chorale list shows "
            "them all)"
        )
    given.refuse_bucket("deleted")
    with given.open() as reader:
        studies = [reader.study(name) for name in names]  # all of them, before one is removed
        for one in studies:
            refuse_other_ledger(given, one.name)
            if "take-over" not in flags:
                reader.refuse_leased(one.name)
            n_trials = sum(len(reader.rows(one.name, s)) for s in ("search", "finalists"))
            n_mb = folder_bytes(given.runs.study(one.name).root) / 1e6
            verb = "deleting" if "yes" in flags else "would delete"
            runs = f"{n_trials} training {'run' if n_trials == 1 else 'runs'}"
            line = f"{verb} {one.name} ({one.state}): {runs}, {n_mb:.1f} MB"
            console().print(line, markup=False, soft_wrap=True)
    if "yes" not in flags:
        raise UserError("nothing was deleted, as this cannot be undone; add --yes to delete")
    ledger = Ledger(options.get("store") or given.runs.ledger_url)
    try:
        for name in dict.fromkeys(names):
            with ledger.deleting(name, take_over="take-over" in flags):
                _remove(given.runs.study(name).root, name)
    finally:
        ledger.close()
    return 0


def refuse_other_ledger(given: StudyOptions, name: str) -> None:
    """Refuses to change the folder of a study of the same name that another ledger has.

    Raises:
        UserError: the folder's sweep file names another ledger than the one that is meant.
    """
    from sqlalchemy import make_url

    from chorale.datasets.errors import UserError
    from chorale.search.config.yaml_file import read_yaml

    paths = given.runs.study(name)
    if not paths.sweep_yaml.is_file():
        return
    kept = read_yaml(paths.sweep_yaml).get("store")
    own, meant = (
        make_url(url or given.runs.ledger_url).set(password="")
        for url in (kept, given.options.get("store"))
    )
    if own != meant:
        how = f"--store '{kept}'" if kept else "no --store"
        raise UserError(
            f"the folder '{paths.root}' belongs to a study '{name}' of another ledger; give its "
            f"ledger ({how}), or with --runs the folder of the studies of this one"
        )


def _remove(folder: Path, name: str) -> None:
    from chorale.datasets.errors import UserError

    try:
        if folder.is_dir():
            shutil.rmtree(folder)
    except OSError as error:
        raise UserError(
            f"cannot remove '{error.filename or folder}': {error.strerror or error}; study "
            f"'{name}' stays in the list; remove what is in the way, and type the same again"
        ) from None
