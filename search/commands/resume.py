"""`chorale resume STUDY [--budget.trials N ...]`: resumes a study."""

import click

from chorale.search.commands.command import command, require, typed_command
from chorale.search.commands.key_words import one_name, split_key_words
from chorale.search.commands.metrics_options import MetricsAddress, metrics_options
from chorale.search.commands.parameters import StudyName, flag
from chorale.search.commands.study_options import StudyOptions, ledger_options

CHANGEABLE_KEYS = ("budget", "cluster", "track")
"""The sections of a sweep that may change when a study is resumed."""
TAKE_OVER = "--take-over"


@command(
    keys=True,
    examples=[
        "chorale resume my_study",
        "chorale resume my_study --budget.trials 128 --cluster.address none",
        "chorale resume my_study --finish",
    ],
)
@click.argument(
    "words",
    nargs=-1,
    type=StudyName(),
    metavar="STUDY [--budget.KEY VALUE] [--cluster.KEY VALUE] [--track.KEY VALUE]",
)
@flag(TAKE_OVER, "Even if another process seems to run the study; it loses its lease.")
@flag(
    "--finish",
    "Train nothing more: end the study with the best model that it has, at least a baseline; it "
    "can be resumed again later.",
)
@metrics_options
@ledger_options
def run(
    given: StudyOptions,
    words: tuple[str, ...],
    take_over: bool,
    finish: bool,
    metrics: MetricsAddress | None,
) -> int:
    """Resumes an interrupted study, or extends a finished one with a larger budget.

    It reads the sweep file that is kept with the study (RUNS/STUDY/sweep.yaml), so nothing else has
    to be typed again. Keys of the sections budget, cluster and track may change (chorale keys
    budget): another budget, other workers, another experiment tracker.
    """
    names, keys = split_key_words(words, CHANGEABLE_KEYS)
    for key in (word[2:].partition("=")[0] for word in keys if word.startswith("--")):
        require(
            key.split(".")[0] in CHANGEABLE_KEYS and "." in key,
            f"--{key}: a study is resumed as it was started; only --budget.KEY, --cluster.KEY and "
            f"--track.KEY may change; for anything else start another study: chorale sweep FILE "
            f"--name NAME",
        )
    study = one_name(names, "the name of one study (chorale resume STUDY)")
    given = StudyOptions(study, given.runs_given, given.store)
    _refuse_unknown(given, study)

    from chorale.search.commands.sweep import run_and_show
    from chorale.search.config import yaml_file
    from chorale.search.config.resolve import resolve_file

    overrides = yaml_file.parse_overrides(keys) | {"name": study, "runs": given.runs_given}
    if given.store is not None:
        overrides["store"] = given.store
    resolved = resolve_file(str(given.runs.study(study).sweep_yaml), overrides)
    return run_and_show(
        resolved,
        resume=True,
        take_over=take_over,
        finish=finish,
        again=typed_command(without=[TAKE_OVER]),
        metrics=metrics,
    )


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
