"""`chorale report STUDY [--open]`: writes the HTML report of a study in its current state."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from chorale.search.api.study import study_about
from chorale.search.commands.study_options import console, parse_study_options

if TYPE_CHECKING:
    from chorale.search.paths import StudyPaths
    from chorale.search.report.data.study_data import StudyData

HELP = """\
usage: chorale report STUDY [--open] [--runs FOLDER] [--store URL]

Writes RUNS/STUDY/report.html, one file that any browser opens without a network, from the ledger
and the study's files, also while the study runs. Nothing is trained or evaluated: results on the
locked test set are shown as they were stored. In a finished study's report.json the derived values
are recomputed.

  --open         opens the page in this machine's browser
  --runs FOLDER  the folder of all studies (runs)
  --store URL    the ledger, where it is not in that folder
"""


def run(args: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    given = parse_study_options(args, flags=["open"])
    name = given.require_name("report")
    with given.open() as ledger:
        info = ledger.study(name)  # an unknown study is refused before anything heavy is imported
        from chorale.search.report.report import summary_sentence, update_report

        paths = given.runs.study(name)
        data = update_report(ledger, info, study_about(info, paths), paths)
    console().print(summary_sentence(data), highlight=False, markup=False)
    _print_paths(data, paths, opens="open" in given.flags)
    return 0


def _print_paths(data: "StudyData", paths: "StudyPaths", *, opens: bool) -> None:
    """Prints the path of the page, and what it lacks."""
    console().print(f"Read it in a browser: {paths.report_html}", markup=False, soft_wrap=True)
    for gap in dict.fromkeys(data.missing.values()):
        console().print(f"Not in it: {gap}", soft_wrap=True, style="dim", markup=False)
    if opens:
        import webbrowser

        if not webbrowser.open(paths.report_html.absolute().as_uri()):
            console().print("No browser could be started; open that file yourself.")
