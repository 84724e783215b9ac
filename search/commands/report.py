"""`chorale report STUDY`: writes the HTML report of a study in its current state."""

from typing import TYPE_CHECKING

from chorale.search.api.study import study_about
from chorale.search.commands.command import command
from chorale.search.commands.console import console
from chorale.search.commands.parameters import flag
from chorale.search.commands.study_options import StudyOptions, study_options

if TYPE_CHECKING:
    from chorale.search.paths import StudyPaths
    from chorale.search.report.data.study_data import StudyData


@command(examples=["chorale report my_study", "chorale report my_study --open"])
@flag("--open", "Open the page in this machine's browser.", name="opens")
@study_options()
def run(given: StudyOptions, opens: bool) -> int:
    """Writes RUNS/STUDY/report.html, one file that any browser opens without a network.

    It is made from the ledger and the study's files, also while the study runs. Nothing is trained
    or evaluated: results on the locked test set are shown as they were stored. In a finished
    study's report.json the derived values are recomputed.
    """
    with given.open() as ledger:
        info = ledger.study(given.name)  # refused before anything heavy is imported
        from chorale.search.report.report import summary_sentence, update_report

        paths = given.runs.study(given.name)
        data = update_report(ledger, info, study_about(info, paths), paths)
    console().print(summary_sentence(data), highlight=False, markup=False)
    _print_paths(data, paths, opens=opens)
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
