"""`chorale resume STUDY [--budget.trials N ...] [--finish] [--take-over]`: resumes a study."""

from collections.abc import Sequence

from chorale.search.commands.metrics_options import METRICS_HELP, split_metrics_options
from chorale.search.commands.study_options import StudyOptions, parse_study_options

HELP = f"""\
usage: chorale resume STUDY [--budget.KEY value ...] [--cluster.KEY value ...]
                      [--track.KEY value ...] [--take-over] [--finish] [--metrics-port PORT]
                      [--runs FOLDER] [--store URL]

Resumes an interrupted study, or extends a finished one with a larger budget. It reads the sweep
file that is kept with the study (RUNS/STUDY/sweep.yaml), so nothing else has to be typed again.

  --finish             trains nothing more: ends the study with the best model that it has, at
                       least a baseline; it can be resumed again later
  --budget.KEY value   another budget: --budget.trials 128, --budget.minutes 60
  --cluster.KEY value  other workers: --cluster.address none
  --track.KEY value    another experiment tracker: --track.uri http://HOST:5000
  --take-over          even if another process seems to run the study; it loses its lease
  --runs FOLDER        the folder of all studies (runs)
  --store URL          the ledger, where it is not in that folder
{METRICS_HELP}"""
CHANGEABLE_KEYS = ("budget", "cluster", "track")
"""The sections of a sweep that may change when a study is resumed."""


def run(args: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    rest, metrics = split_metrics_options(args)
    dotted = _overrides(rest)
    given = parse_study_options(rest, options=dotted, flags=["take-over", "finish"])
    name = given.require_name("resume")
    _refuse_unknown(given, name)

    import shlex

    from chorale.search.commands.sweep import run_and_show
    from chorale.search.config import yaml_file
    from chorale.search.config.resolve import resolve_file

    overrides = yaml_file.parse_overrides([f"--{key}={given.options[key]}" for key in dotted])
    overrides |= {"name": name, "runs": given.runs_given}
    if "store" in given.options:
        overrides["store"] = given.options["store"]
    resolved = resolve_file(str(given.runs.study(name).sweep_yaml), overrides)
    again = [arg for arg in args if arg != "--take-over"]
    return run_and_show(
        resolved,
        resume=True,
        take_over="take-over" in given.flags,
        finish="finish" in given.flags,
        again=shlex.join(["chorale", "resume", *again]),
        metrics=metrics,
    )


def _overrides(args: Sequence[str]) -> list[str]:
    """The sweep's keys among the arguments.

    Raises:
        UserError: a key that may not change.
    """
    from chorale.datasets.errors import UserError

    keys = [w[2:].partition("=")[0] for w in args if w.startswith("--") and "." in w.split("=")[0]]
    for key in keys:
        if key.split(".")[0] not in CHANGEABLE_KEYS:
            raise UserError(
                f"--{key}: a study is resumed as it was started; only --budget.KEY, "
                f"--cluster.KEY and --track.KEY may change; for anything else start another study: "
                f"chorale sweep FILE --name NAME"
            )
    return keys


def _refuse_unknown(given: StudyOptions, name: str) -> None:
    """Refuses a study that neither has a sweep file nor is in the ledger.

    Raises:
        UserError: it is unknown, or its sweep file is missing.
    """
    from chorale.datasets.errors import UserError

    file = given.runs.study(name).sweep_yaml
    if file.is_file():
        return
    with given.open() as ledger:
        ledger.study(name)
    raise UserError(
        f"'{file}', which is kept with study '{name}', is missing; give its folder with --runs "
        f"FOLDER, or resume with the file that the study was started with: chorale sweep FILE "
        f"--name {name} --resume"
    )
