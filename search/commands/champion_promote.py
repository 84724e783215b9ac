"""`chorale champion promote STUDY`: makes a study's ensemble the champion by hand."""

from typing import TYPE_CHECKING

import click

from chorale.datasets.errors import UserError
from chorale.search.commands.champion_options import known_champions
from chorale.search.commands.command import command
from chorale.search.commands.console import console
from chorale.search.commands.ensemble import sweep_of
from chorale.search.commands.study_options import StudyOptions, study_options

if TYPE_CHECKING:
    from chorale.search.bundle.bundle import Bundle


@command(
    examples=[
        "chorale champion promote my_study",
        "chorale champion promote my_study --as music --reason 'checked by hand'",
    ]
)
@click.option(
    "--as",
    "champion",
    metavar="NAME",
    show_default="the only existing one, or else the study's name",
    help="The champion's name.",
)
@click.option(
    "--reason",
    default="promoted by hand",
    metavar="TEXT",
    help="A sentence for the history.",
)
@study_options()
def run(given: StudyOptions, champion: str | None, reason: str) -> int:
    """Packs the ensemble of a finished study and makes it the champion.

    It bypasses the gate, but not the hard limits of the study's sweep file (limit). The change is
    atomic; chorale champion rollback restores the previous champion.
    """
    from chorale.search.champion.registry.registry import Registry
    from chorale.search.champion.tracking import track_or_explain
    from chorale.search.commands.export import packed_bundle

    study = given.name
    known = known_champions(given.runs)
    name = champion or (known[0] if len(known) == 1 else study)
    registry = Registry(given.runs.champion(name))
    before = registry.history()
    bundle = packed_bundle(given)
    expected = before[-1].digest if before else None
    if bundle.digest == expected:
        already = f"{study} is already champion '{name}' ({bundle.digest[:12]})"
        console().print(already, markup=False)
        return 0
    _refuse_over_limit(given, bundle)
    period = registry.promote(bundle, expected=expected, reason=reason)
    old = f"; the previous champion was {before[-1].study}" if before else ""
    console().print(f"{study} is champion '{name}' since {period.since_utc}{old}", markup=False)
    for line in track_or_explain(given.runs, name):
        console().print(line, markup=False, soft_wrap=True)
    return 0


def _refuse_over_limit(given: StudyOptions, bundle: "Bundle") -> None:
    """Refuses a bundle that exceeds the limits of its sweep.

    Raises:
        UserError: names what it exceeds.
    """
    study, limit = given.name, sweep_of(given).limit
    if not limit.is_set:
        return
    from chorale.search.training.latency import exceeded_limit

    if exceeded := exceeded_limit(bundle.paths.root, limit):
        raise UserError(
            f"the ensemble of study '{study}' exceeds the limit of its sweep: {exceeded}; distil "
            f"it with chorale compress {study}, or sweep again with another limit and --name"
        )
