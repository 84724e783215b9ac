"""`chorale track sync STUDY`: writes a study to an experiment tracker."""

import json
import sys
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import click

from chorale.search.commands.command import command, command_line
from chorale.search.commands.console import console
from chorale.search.commands.parameters import json_option
from chorale.search.commands.study_options import StudyOptions, study_options

if TYPE_CHECKING:
    from chorale.search.config.track_config import TrackConfig


@command(
    examples=[
        "chorale track sync my_study --uri http://HOST:5000",
        "chorale track sync my_study --experiment birds --json",
    ]
)
@click.option("--uri", metavar="URL", help="The server: http://HOST:5000.")
@click.option(
    "--experiment",
    metavar="NAME",
    show_default="as in its sweep file, else chorale",
    help="The experiment that holds the runs.",
)
@click.option(
    "--tracker",
    metavar="NAME",
    show_default="as in its sweep file, else mlflow",
    help="Which tracker.",
)
@json_option
@study_options()
def run(
    given: StudyOptions,
    uri: str | None,
    experiment: str | None,
    tracker: str | None,
    as_json: bool,
) -> int:
    """Writes a study to an experiment tracker, from the ledger and the study's files.

    There is a run for the study, below it one for each trial and each retraining of a finalist that
    has ended, with parameters, curves, scores and reports. Only what the tracker lacks is written,
    so it may be typed again at any time, also while the study runs, and after the tracker was away.
    A sweep with the key track does so by itself.

    MLflow (the default) takes the address from --uri, the study's sweep file or
    MLFLOW_TRACKING_URI, and secrets only from MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME
    and _PASSWORD.
    """
    from chorale.datasets.errors import UserError

    with given.open() as ledger:
        ledger.study(given.name)  # an unknown study is refused before anything else
        paths = given.runs.study(given.name)
        if not paths.root.is_dir():
            raise UserError(
                f"there is no folder '{paths.root}' of the study, which has its curves and "
                f"reports; name the folder of all studies with --runs FOLDER"
            )
        from chorale.search.tracking.sync import StudySync, open_tracker

        opened = open_tracker(_track(given, uri, experiment, tracker))
        progress = _Progress(shows=sys.stderr.isatty() and not command_line().quiet)
        try:
            written = StudySync(given.name, paths, opened, progress.show).run(ledger, closing=True)
        finally:
            progress.end()
            opened.close()
    if as_json:
        print(json.dumps({"study": given.name, "place": opened.place, **asdict(written)}, indent=2))
        return 0
    parts = {
        "written": written.created,
        "completed": written.updated,
        "there already": written.unchanged,
        "doubled and removed": written.doubles_removed,
    }
    text = ", ".join(f"{n} {what}" for what, n in parts.items() if n)
    console().print(f"{opened.place}: runs of {given.name}: {text}", markup=False, soft_wrap=True)
    for line in written.left_out:
        console().print(line, markup=False, soft_wrap=True)
    return 0


def _track(
    given: StudyOptions, uri: str | None, experiment: str | None, tracker: str | None
) -> "TrackConfig":
    """The tracker: that of the study's sweep file, with what was given on the command line."""
    from chorale.search.config.track_config import checked_address, read_track
    from chorale.search.config.yaml_file import read_yaml

    file = given.runs.study(given.name).sweep_yaml
    kept = read_yaml(file).get("track") if file.is_file() else None
    track = read_track(kept, where=str(file))
    if uri is not None:
        track = replace(track, uri=checked_address(uri, where="--uri"))
    return replace(track, experiment=experiment or track.experiment, name=tracker or track.name)


class _Progress:
    """One line on a terminal that counts runs."""

    def __init__(self, *, shows: bool) -> None:
        self._shows, self._any = shows, False

    def show(self, done: int, n: int) -> None:
        """Shows that `done` of `n` runs are compared."""
        if self._shows and (done % 10 == 0 or done == n):
            print(f"\r{done} of {n} runs", end="", file=sys.stderr, flush=True)
            self._any = True

    def end(self) -> None:
        """Ends the line."""
        if self._any:
            print(file=sys.stderr)
