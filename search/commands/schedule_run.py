"""`chorale schedule run NIGHTLY.yaml ...`: an embedded scheduler that starts nights on time."""

import sys
from collections.abc import Sequence

HELP = """\
usage: chorale schedule run NIGHTLY.yaml ... [--runs FOLDER]

Runs until it is interrupted, and starts `chorale nightly` for each file when its night is due, in a
process of its own. A night that was missed while the scheduler did not run is run at once, unless
it is the first one. Where cron, systemd or Kubernetes are available, prefer them.

It needs APScheduler, the extra `schedule`.
"""


def run(args: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    from importlib.util import find_spec

    from chorale.cluster.versions import install_extra_command
    from chorale.datasets.errors import UserError
    from chorale.search.commands.study_options import split_arguments

    files, given, _ = split_arguments(args, options=("runs",))
    if not files:
        raise UserError("expected nightly files; type: chorale schedule run NIGHTLY.yaml")
    if find_spec("apscheduler") is None:
        raise UserError(
            f"the scheduler needs APScheduler; type: {install_extra_command('schedule')}, or let "
            f"cron call: chorale nightly NIGHTLY.yaml"
        )
    from chorale.search import garbage_collection
    from chorale.search.nightly.config import load_nightly
    from chorale.search.nightly.scheduler import run_scheduler

    nightlies = [load_nightly(file, dict(given)) for file in files]
    twice = {one.name for one in nightlies if sum(o.name == one.name for o in nightlies) > 1}
    if twice:
        raise UserError(f"several files have the name '{sorted(twice)[0]}'; give each a `name`")
    more = [f"--runs={given['runs']}"] if "runs" in given else []
    garbage_collection.collect_normally()
    run_scheduler(nightlies, more=more, log=lambda line: print(line, file=sys.stderr, flush=True))
    return 0
