"""`chorale study rename STUDY NAME`: gives a study another name."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chorale.search.commands.command import command
from chorale.search.commands.console import console
from chorale.search.commands.parameters import StudyName, flag
from chorale.search.commands.study_options import StudyOptions, ledger_options

if TYPE_CHECKING:
    from chorale.search.ledger.ledger import Ledger
    from chorale.search.paths import Runs, StudyPaths


@command(examples=["chorale study rename sweep guitars", "chorale study rename a b --take-over"])
@click.argument("study", type=StudyName())
@click.argument("name")
@flag("--take-over", "Also a study that a process seems to run, which you know has ended.")
@ledger_options
def run(given: StudyOptions, name: str, take_over: bool) -> int:
    """Gives a study another name.

    It has it in the ledger, its folder, its sweep file and its report. Bundles that were exported
    keep the old name in their model card. A running study is refused, and so is one that a night, a
    champion or the warm start of another study knows by its name.
    """
    from chorale.search.commands.study_delete import refuse_other_ledger
    from chorale.search.ledger.ledger import Ledger

    old = given.name
    given.refuse_bucket("renamed")
    _refuse_invalid(name)
    with given.open() as reader:
        info = reader.study(old)
        if not take_over:
            reader.refuse_leased(info.name)
    before, after = given.runs.study(old), given.runs.study(name)
    refuse_other_ledger(given, old)
    _refuse_referenced(given.runs, old)
    ledger = Ledger(given.store or given.runs.ledger_url)
    try:
        with ledger.renaming(old, name, take_over=take_over):
            _move(before, after)
        after.renamed_from.unlink(missing_ok=True)
        _write_report(ledger, name, after)
    finally:
        ledger.close()
    console().print(f"study '{old}' is now '{name}'", markup=False, soft_wrap=True)
    return 0


def _refuse_invalid(name: str) -> None:
    """Refuses what cannot be a study's name.

    Raises:
        UserError: it has other characters than a sweep's `name` may have.
    """
    from chorale.datasets.errors import UserError
    from chorale.search.config.schema import STUDY_NAME

    if not re.match(STUDY_NAME, name):
        raise UserError(
            f"the name of a study may have letters, digits, '_', '.' and '-', and begins with a "
            f"letter or digit, but got '{name}'"
        )


def _refuse_referenced(runs: "Runs", name: str) -> None:
    """Refuses a study that something else finds by its name.

    Raises:
        UserError: a night, a champion, or the warm start of another study.
    """
    from chorale.datasets.errors import UserError
    from chorale.search.champion.registry.registry import Registry
    from chorale.search.config.yaml_file import read_yaml

    users = [
        f"the night '{file.parent.name}' of '{file.parents[2].name}'"
        for file in sorted(runs.root.glob("nightly/*/nights/*/night.json"))
        if _json_value(file, "study") == name
    ]
    for folder in sorted(runs.root.glob("champions/*")):
        periods = Registry(runs.champion(folder.name)).history()
        users += [f"the champion '{folder.name}'"] * any(one.study == name for one in periods)
    for study in runs.studies():
        search = read_yaml(study.sweep_yaml).get("search")
        known = search.get("warm_start") if isinstance(search, dict) else None
        if isinstance(known, list) and name in known:
            users.append(f"the warm start of study '{study.root.name}'")
    if users:
        raise UserError(
            f"study '{name}' cannot be renamed: {users[0]} refers to it by its name; give it a "
            f"note instead: chorale study note {name} TEXT"
        )


def _json_value(file: Path, key: str) -> object:
    """A value of a JSON file; None where the file is damaged, which its own commands report."""
    try:
        return json.loads(file.read_text(encoding="utf-8")).get(key)
    except (OSError, ValueError, AttributeError):
        return None


def _move(before: "StudyPaths", after: "StudyPaths") -> None:
    """Renames the folder, and the study in its sweep file and report.

    After a kill it goes on where it ended: `renamed_from` is in the folder until the ledger, too,
    knows the new name.

    Raises:
        UserError: there are other files under the new name, or the files cannot be written.
    """
    from chorale.datasets.atomic import rename_synced, write_json, write_text
    from chorale.datasets.errors import UserError
    from chorale.search.config.schema import load_sweep_config, sweep_yaml_text

    old, new = before.root.name, after.root.name
    try:
        if after.root.exists() and _former_name(after) != old:
            raise UserError(f"'{after.root}' exists already; give another name, or move it away")
        if not after.root.exists():
            if not before.root.is_dir():
                return
            write_text(before.renamed_from, old)
            rename_synced(before.root, after.root)
        if after.sweep_yaml.is_file():
            sweep = load_sweep_config(str(after.sweep_yaml), {"name": new})
            write_text(after.sweep_yaml, sweep_yaml_text(sweep))
        if after.report_json.is_file():
            report = json.loads(after.report_json.read_text(encoding="utf-8"))
            write_json(after.report_json, {**report, "study": new})
    except OSError as error:
        raise UserError(
            f"cannot write '{error.filename or before.root}': {error.strerror or error}; make it "
            f"writable, and type the same again"
        ) from None


def _former_name(paths: "StudyPaths") -> str:
    """The former name of a study whose renaming has not ended; empty for any other."""
    return paths.renamed_from.read_text(encoding="utf-8") if paths.renamed_from.is_file() else ""


def _write_report(ledger: "Ledger", name: str, paths: "StudyPaths") -> None:
    """Writes the report's page anew, if there was one."""
    from chorale.search.api.study import study_about
    from chorale.search.report.report import update_report

    if paths.report_html.is_file():
        info = ledger.study(name)
        update_report(ledger, info, study_about(info, paths), paths)
