"""`chorale champion health [NAME]`: the accuracy to expect of served answers, and an alarm."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chorale.datasets.errors import UserError
from chorale.search.commands.champion_options import ChampionOptions, champion_options
from chorale.search.commands.command import command
from chorale.search.commands.console import console
from chorale.search.commands.parameters import FOLDER, WholeNumber, json_option

if TYPE_CHECKING:
    from chorale.search.bundle.bundle import Bundle
    from chorale.search.champion.health.health import Health

N_RECENT = 1000
"""as champion.health.alarm.N_RECENT"""


@command(examples=["chorale champion health", "chorale champion health music --last 200 --json"])
@click.option(
    "--bundle",
    type=FOLDER,
    metavar="BUNDLE",
    help="Another bundle instead of the champion, as of chorale serve --shadow.",
)
@click.option(
    "--health-dir",
    type=FOLDER,
    metavar="FOLDER",
    show_default="RUNS/champions/NAME/health",
    help="The folder that the servers write to.",
)
@click.option(
    "--last",
    type=WholeNumber(1, 10**9),
    default=N_RECENT,
    metavar="N",
    help="The number of latest answers of which the accuracy is estimated.",
)
@json_option
@champion_options
def run(
    given: ChampionOptions, bundle: Path | None, health_dir: Path | None, last: int, as_json: bool
) -> int:
    """Shows how the current champion does in use, by the statistics of chorale serve --health-dir.

    These are the share of its answers that is expected to be right, from their confidence, without
    labels (those flagged as out of distribution count as wrong); and whether they have become less
    confident. Where the model is confident and wrong, it does not notice. Exit code 1 where there
    is an alarm.
    """
    watched = given.registry.current() if bundle is None else _opened(bundle)
    if watched is None:
        return 1
    folder = health_dir or given.registry.paths.health
    if not folder.is_dir():
        raise UserError(
            f"there are no statistics of answers in '{folder}'; keep some: chorale serve "
            f"{watched.paths.root} --health-dir {folder}, or name their folder with --health-dir"
        )
    from chorale.search.champion.health.health import read_health

    health, n_other, n_damaged = read_health(folder, watched, last=last)
    if as_json:
        found = {"champion": given.name, "bundle": watched.digest, **health.as_dict()}
        print(json.dumps(found | {"n_other": n_other, "n_damaged": n_damaged}, indent=2))
    else:
        _show(given.name, health, watched, n_other=n_other, n_damaged=n_damaged)
    return int(health.has_alarm)


def _opened(folder: Path) -> "Bundle":
    from chorale.search.bundle.bundle import Bundle

    return Bundle.open(folder)


def _show(name: str, health: "Health", bundle: "Bundle", *, n_other: int, n_damaged: int) -> None:
    from chorale.search.champion.health.health import utc_text

    out = console()
    out.print(f"{name}: {health.sentence()}", soft_wrap=True, markup=False, highlight=False)
    found, reference, alarm = health.accuracy, health.reference, health.alarm
    rows: list[tuple[str, str]] = [("answers", f"{health.n_answers:,}")]
    if health.n_recent:
        period = f"{utc_text(health.first_s)} to {utc_text(health.last_s)}"
        rows.append(("of them shown", f"the last {health.n_recent:,}, {period}"))
    if found is not None:
        interval = f"{found.low:.1%} to {found.high:.1%}"
        rows.append(("expected accuracy", f"{found.accuracy:.1%} (95 % interval {interval})"))
    if reference is not None:
        rows.append(
            (
                "reference accuracy",
                f"{reference.accuracy:.1%}, from {reference.n_tracks:,} held-out tracks of "
                f"{reference.n_groups:,} groups",
            )
        )
    if health.confidence is not None:
        usual = "" if reference is None else f" (reference {reference.confidence:.1%})"
        rows.append(("confidence", f"{health.confidence:.1%}{usual}"))
    if health.out_of_distribution is not None:
        rows.append(
            ("out of distribution", f"{health.out_of_distribution:.1%} (of the study's about 1 %)")
        )
    if health.disagreement is not None:
        limit = f"out of distribution above {bundle.manifest.most_disagreement:.3f}"
        rows.append(("disagreement", f"{health.disagreement:.3f} nats ({limit})"))
    if health.similarity_margin is not None:
        rows.append(("similarity margin", f"{health.similarity_margin:+.3f} (below 0: unlike)"))
    if alarm is not None:
        since = f"since {utc_text(alarm.since_s)}" if alarm.active else "none"
        rows.append(("alarm", f"{since}; {alarm.n_alarms} raised in all"))
    if n_other:
        rows.append(("not counted", f"{n_other:,} answers of other bundles"))
    if n_damaged:
        rows.append(("damaged", f"{n_damaged:,} records, left out"))
    for what, text in rows:
        out.print(f"  {what:<21}{text}", soft_wrap=True, markup=False, highlight=False)
