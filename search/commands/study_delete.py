"""`chorale study delete STUDY ...`: removes studies with their files."""

import shutil
from pathlib import Path

import click

from chorale.search.commands.command import command
from chorale.search.commands.console import console
from chorale.search.commands.parameters import StudyName, flag
from chorale.search.commands.study_options import StudyOptions, ledger_options


@command(examples=["chorale study delete old_study", "chorale study delete old older --yes"])
@click.argument("studies", nargs=-1, required=True, type=StudyName(), metavar="STUDY ...")
@flag("--yes", "Remove them; this cannot be undone.")
@flag("--take-over", "Also a study that a process seems to run, which you know has ended.")
@ledger_options
def run(given: StudyOptions, studies: tuple[str, ...], yes: bool, take_over: bool) -> int:
    """Removes studies: their trials in the ledger and their folder.

    The folder has all weights, predictions and reports. Cached features stay (chorale data prune
    removes those), and so do bundles, which are copies: champions, and what was exported elsewhere.
    Their evaluations of locked test sets stay counted. A running study is refused. Without --yes
    nothing is removed: what would be is listed.
    """
    from chorale.datasets.errors import UserError
    from chorale.search.ledger.ledger import Ledger
    from chorale.search.paths import folder_bytes

    given.refuse_bucket("deleted")
    with given.open() as reader:
        found = [reader.study(name) for name in studies]  # all of them, before one is removed
        for one in found:
            refuse_other_ledger(given, one.name)
            if not take_over:
                reader.refuse_leased(one.name)
            n_trials = sum(len(reader.rows(one.name, s)) for s in ("search", "finalists"))
            n_mb = folder_bytes(given.runs.study(one.name).root) / 1e6
            verb = "deleting" if yes else "would delete"
            runs = f"{n_trials} training {'run' if n_trials == 1 else 'runs'}"
            line = f"{verb} {one.name} ({one.state}): {runs}, {n_mb:.1f} MB"
            console().print(line, markup=False, soft_wrap=True)
    if not yes:
        raise UserError("nothing was deleted, as this cannot be undone; add --yes to delete")
    ledger = Ledger(given.store or given.runs.ledger_url)
    try:
        for name in dict.fromkeys(studies):
            with ledger.deleting(name, take_over=take_over):
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
        make_url(url or given.runs.ledger_url).set(password="") for url in (kept, given.store)
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
