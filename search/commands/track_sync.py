"""`chorale track sync STUDY [--uri URL]`: writes a study to an experiment tracker."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from chorale.search.commands.study_options import StudyOptions, console, parse_study_options

if TYPE_CHECKING:
    from chorale.search.config.track_config import TrackConfig

HELP = """\
usage: chorale track sync STUDY [--uri URL] [--experiment NAME] [--tracker NAME] [--json]
                          [--runs FOLDER] [--store URL]

Writes a study to an experiment tracker, from the ledger and the study's files: a run for the study,
below it one for each trial and each retraining of a finalist that has ended, with parameters,
curves, scores and reports. Only what the tracker lacks is written, so it may be typed again at any
time, also while the study runs, and after the tracker was away. A sweep with the key `track` does
so by itself.

MLflow (the default) takes the address from --uri, the study's sweep file or MLFLOW_TRACKING_URI,
and secrets only from MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and _PASSWORD.

  --uri URL         the server: http://HOST:5000
  --experiment NAME the experiment that holds the runs (chorale)
  --tracker NAME    which tracker (mlflow)
  --json            print what was written as JSON
  --runs FOLDER     the folder of all studies (runs)
  --store URL       the ledger, where it is not in that folder
"""


def run(args: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    from chorale.datasets.errors import UserError

    given = parse_study_options(args, options=["uri", "experiment", "tracker"], flags=["json"])
    name = given.require_name("track sync")
    with given.open() as ledger:
        ledger.study(name)  # an unknown study is refused before anything else
        paths = given.runs.study(name)
        if not paths.root.is_dir():
            raise UserError(
                f"there is no folder '{paths.root}' of the study, which has its curves and "
                f"reports; name the folder of all studies with --runs FOLDER"
            )
        from chorale.search.tracking.sync import StudySync, open_tracker

        tracker = open_tracker(_track(given, name))
        progress = _Progress(shows=sys.stderr.isatty())
        try:
            written = StudySync(name, paths, tracker, progress.show).run(ledger, closing=True)
        finally:
            progress.end()
            tracker.close()
    if "json" in given.flags:
        print(json.dumps({"study": name, "place": tracker.place, **asdict(written)}, indent=2))
        return 0
    parts = {
        "written": written.created,
        "completed": written.updated,
        "there already": written.unchanged,
        "doubled and removed": written.doubles_removed,
    }
    text = ", ".join(f"{n} {what}" for what, n in parts.items() if n)
    console().print(f"{tracker.place}: runs of {name}: {text}", markup=False, soft_wrap=True)
    for line in written.left_out:
        console().print(line, markup=False, soft_wrap=True)
    return 0


def _track(given: StudyOptions, name: str) -> "TrackConfig":
    """The tracker: that of the study's sweep file, with what was given on the command line."""
    from chorale.search.config.track_config import checked_address, read_track
    from chorale.search.config.yaml_file import read_yaml

    file = given.runs.study(name).sweep_yaml
    kept = read_yaml(file).get("track") if file.is_file() else None
    track, options = read_track(kept, where=str(file)), given.options
    if "uri" in options:
        track = replace(track, uri=checked_address(options["uri"], where="--uri"))
    if "experiment" in options:
        track = replace(track, experiment=options["experiment"])
    return replace(track, name=options["tracker"]) if "tracker" in options else track


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
