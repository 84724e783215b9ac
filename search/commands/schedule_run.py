"""`chorale schedule run NIGHTLY.yaml ...`: an embedded scheduler that starts nights on time."""

import sys

import click

from chorale.search.commands.command import command
from chorale.search.commands.parameters import SweepWords


@command(
    examples=["chorale schedule run my_nightly.yaml", "chorale schedule run a.yaml b.yaml --runs r"]
)
@click.argument("files", nargs=-1, required=True, type=SweepWords(), metavar="NIGHTLY.yaml ...")
@click.option(
    "--runs", metavar="FOLDER", show_default="as in the files", help="The folder of all studies."
)
def run(files: tuple[str, ...], runs: str | None) -> int:
    """Starts chorale nightly for each file when its night is due, until it is interrupted.

    Each night runs in a process of its own. A night that was missed while the scheduler did not run
    is run at once, unless it is the first one. Where cron, systemd or Kubernetes are available,
    prefer them. It needs APScheduler, the extra schedule.
    """
    from importlib.util import find_spec

    from chorale.cluster.versions import install_extra_command
    from chorale.datasets.errors import UserError

    if find_spec("apscheduler") is None:
        raise UserError(
            f"the scheduler needs APScheduler; type: {install_extra_command('schedule')}, or let "
            f"cron call: chorale nightly NIGHTLY.yaml"
        )
    from chorale.search import garbage_collection
    from chorale.search.nightly.config import load_nightly
    from chorale.search.nightly.scheduler import run_scheduler

    given = {} if runs is None else {"runs": runs}
    nightlies = [load_nightly(file, given) for file in files]
    twice = {one.name for one in nightlies if sum(o.name == one.name for o in nightlies) > 1}
    if twice:
        raise UserError(f"several files have the name '{sorted(twice)[0]}'; give each a `name`")
    more = [] if runs is None else [f"--runs={runs}"]
    garbage_collection.collect_normally()
    run_scheduler(nightlies, more=more, log=lambda line: print(line, file=sys.stderr, flush=True))
    return 0
