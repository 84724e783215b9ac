"""`chorale report STUDY [--open]`: one page about a study, from what is known of it now."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from chorale.search.commands.study_words import about, console, study_words

if TYPE_CHECKING:
    from chorale.search.paths import StudyPaths
    from chorale.search.report.data.data import Gathered

HELP = """\
usage: chorale report STUDY [--open] [--runs FOLDER] [--store URL]

Writes RUNS/STUDY/report.html, one file that any browser opens without a network, from the ledger
and the study's files, also while it runs. Nothing is trained, and nothing is looked at again: what
was said of the locked test set is shown as it was kept. A finished study's report.json is told
anew what follows from them.

  --open         opens the page in this machine's browser
  --runs FOLDER  the folder of all studies (runs)
  --store URL    the ledger, where it is not in that folder
"""


def run(words: Sequence[str]) -> int:
    """Runs the command; gives its exit code."""
    if any(word in ("-h", "--help") for word in words):
        print(HELP)
        return 0
    given = study_words(words, flags=["open"])
    name = given.named("report")
    ledger = given.open()
    try:
        info = ledger.study(name)  # an unknown study is refused before anything heavy is imported
        from chorale.search.report.report import first_sentence, renew

        paths = given.runs.study(name)
        told = renew(ledger, info, about(info, paths), paths)
    finally:
        ledger.close()
    console().print(first_sentence(told), highlight=False)
    _tell(told, paths, opens="open" in given.flags)
    return 0


def _tell(told: "Gathered", paths: "StudyPaths", *, opens: bool) -> None:
    """Where the page is, and what it could not say."""
    console().print(f"Read it in a browser: {paths.report_html}", soft_wrap=True)
    for gap in dict.fromkeys(told.gaps.values()):
        console().print(f"Not in it: {gap}", soft_wrap=True, style="dim", markup=False)
    if opens:
        import webbrowser

        if not webbrowser.open(paths.report_html.absolute().as_uri()):
            console().print("No browser could be started here; open that file yourself.")
