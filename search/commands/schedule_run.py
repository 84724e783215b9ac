"""`chorale schedule run NIGHTLY.yaml ...`: stays, and calls each night when it is due."""

import sys
from collections.abc import Sequence

HELP = """\
usage: chorale schedule run NIGHTLY.yaml ... [--runs FOLDER]

Stays until it is interrupted, and runs `chorale nightly` of each file when its night is due, in a
process of its own. A night that was missed while nothing ran is run at once, if any was run before.
Where cron, systemd or Kubernetes are at hand, let them do it.

It needs APScheduler, the extra `schedule`.
"""


def run(words: Sequence[str]) -> int:
    """Runs the command; gives its exit code."""
    if any(word in ("-h", "--help") for word in words):
        print(HELP)
        return 0
    from importlib.util import find_spec

    from chorale.cluster.versions import install_extra
    from chorale.datasets.errors import UserError
    from chorale.search.commands.study_words import split_words

    files, given, _ = split_words(words, options=("runs",))
    if not files:
        raise UserError("expected nightly files; type: chorale schedule run NIGHTLY.yaml")
    if find_spec("apscheduler") is None:
        raise UserError(
            f"the scheduler needs APScheduler; type: {install_extra('schedule')}, or let cron "
            "call: chorale nightly NIGHTLY.yaml"
        )
    from chorale.search import collecting
    from chorale.search.nightly.config import load
    from chorale.search.nightly.scheduler import serve

    nightlies = [load(file, dict(given)) for file in files]
    twice = {one.name for one in nightlies if sum(o.name == one.name for o in nightlies) > 1}
    if twice:
        raise UserError(f"several files are called '{sorted(twice)[0]}'; give each a `name`")
    more = [f"--runs={given['runs']}"] if "runs" in given else []
    collecting.as_usual()
    serve(nightlies, more=more, say=lambda line: print(line, file=sys.stderr, flush=True))
    return 0
