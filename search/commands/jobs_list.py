"""`chorale jobs list [--address URL] [--json]`: the sweeps that were submitted to a cluster."""

import dataclasses
import json
import time
from collections.abc import Sequence

from chorale.search.commands.job_words import OPTIONS, job_words

HELP = f"""\
usage: chorale jobs list [--address URL] [--allow-no-token] [--json]

Lists the jobs that `chorale submit` started on a cluster, the newest first.

{OPTIONS}
  --json            the same for other programs
"""


def run(words: Sequence[str]) -> int:
    """Runs the command; gives its exit code."""
    if any(word in ("-h", "--help") for word in words):
        print(HELP)
        return 0
    from chorale.datasets.errors import UserError

    given = job_words(words, flags=["json"])
    if given.name is not None:
        raise UserError(
            f"chorale jobs list takes no name; of one job says more: chorale jobs logs {given.name}"
        )
    jobs = given.open()
    found = jobs.all()[::-1]
    if "json" in given.flags:
        print(json.dumps([dataclasses.asdict(job) for job in found], indent=2))
        return 0
    if not found:
        print(
            f"There is no job yet; start one with: chorale submit SWEEP.yaml --address {jobs.url}"
        )
        return 0
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from chorale.search.commands.study_words import console
    from chorale.search.console.progress import duration

    table = Table(box=box.SIMPLE_HEAD)
    for name in ("job", "study", "state", "exit code", "began (UTC)", "took"):
        number = name in ("exit code", "took")
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    for job in found:
        began = "" if job.began_s is None else _utc(job.began_s)
        took = "" if job.began_s is None else duration((job.ended_s or time.time()) - job.began_s)
        code = "" if job.exit_code is None else str(job.exit_code)
        table.add_row(escape(job.name), escape(job.study), job.state, code, began, took)
    console().print(table)
    return 0


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))
