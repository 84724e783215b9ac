"""`chorale resume STUDY [--budget.trials N ...] [--take-over]`: goes on with a study."""

from collections.abc import Sequence

from chorale.search.commands.study_words import StudyWords, study_words

HELP = """\
usage: chorale resume STUDY [--budget.KEY value ...] [--cluster.KEY value ...] [--take-over]
                      [--runs FOLDER] [--store URL]

Goes on with an interrupted study, or gives a finished one a larger budget. It reads the sweep file
that is kept with the study (RUNS/STUDY/sweep.yaml), so nothing else has to be typed again.

  --budget.KEY value   another budget: --budget.trials 128, --budget.minutes 60
  --cluster.KEY value  other workers: --cluster.address none
  --take-over          even if another process seems to run the study; that one can write no more
  --runs FOLDER        the folder of all studies (runs)
  --store URL          the ledger, where it is not in that folder
"""
ALLOWED = ("budget", "cluster")
"""What may be another than when the study was started."""


def run(words: Sequence[str]) -> int:
    """Runs the command; gives its exit code."""
    if any(word in ("-h", "--help") for word in words):
        print(HELP)
        return 0
    dotted = _overrides(words)
    given = study_words(words, options=dotted, flags=["take-over"])
    name = given.named("resume")
    _refuse_unknown(given, name)

    import shlex

    from chorale.search.commands.sweep import carry_out
    from chorale.search.config import yaml_file
    from chorale.search.config.resolve import resolve_file

    overrides = yaml_file.overrides([f"--{key}={given.options[key]}" for key in dotted])
    overrides |= {"name": name, "runs": given.runs_given}
    if "store" in given.options:
        overrides["store"] = given.options["store"]
    resolved = resolve_file(str(given.runs.study(name).sweep_yaml), overrides)
    again = [word for word in words if word != "--take-over"]
    return carry_out(
        resolved,
        resume=True,
        take_over="take-over" in given.flags,
        again=shlex.join(["chorale", "resume", *again]),
    )


def _overrides(words: Sequence[str]) -> list[str]:
    """The keys of the sweep that were given.

    Raises:
        UserError: one that must stay as it was.
    """
    from chorale.datasets.errors import UserError

    keys = [w[2:].partition("=")[0] for w in words if w.startswith("--") and "." in w.split("=")[0]]
    for key in keys:
        if key.split(".")[0] not in ALLOWED:
            raise UserError(
                f"--{key}: a study goes on as it was started; only --budget.KEY and --cluster.KEY "
                f"may change; for anything else start another: chorale sweep FILE --name NAME"
            )
    return keys


def _refuse_unknown(given: StudyWords, name: str) -> None:
    """A study is known by its ledger, or by the file that would say where its ledger is."""
    from chorale.datasets.errors import UserError

    file = given.runs.study(name).sweep_yaml
    if file.is_file():
        return
    ledger = given.open()
    try:
        ledger.study(name)
    finally:
        ledger.close()
    raise UserError(
        f"'{file}', which is kept with study '{name}', is missing; say where it is with --runs "
        f"FOLDER, or go on with the file that it was started with: chorale sweep FILE --name "
        f"{name} --resume"
    )
