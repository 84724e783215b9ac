"""`chorale jobs list [--address URL] [--json]`: the jobs that were submitted to a cluster."""

import dataclasses
import json
import time
from collections.abc import Sequence

from chorale.search.commands.job_options import JOB_OPTIONS_HELP, parse_job_options

HELP = f"""\
usage: chorale jobs list [--address URL] [--allow-no-token] [--json]

Lists the jobs that `chorale submit` started on a cluster, the newest first.

{JOB_OPTIONS_HELP}
  --json            print JSON
"""


def run(args: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    from chorale.datasets.errors import UserError

    given = parse_job_options(args, flags=["json"])
    if given.name is not None:
        raise UserError(
            f"chorale jobs list takes no name; for one job type: chorale jobs logs {given.name}"
        )
    jobs = given.open()
    found = jobs.all_jobs()[::-1]
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

    from chorale.search.commands.study_options import console
    from chorale.search.console.progress import duration_text

    table = Table(box=box.SIMPLE_HEAD)
    for name in ("job", "study", "state", "exit code", "began (UTC)", "took"):
        number = name in ("exit code", "took")
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    for job in found:
        began = "" if job.began_s is None else _utc(job.began_s)
        took = (
            "" if job.began_s is None else duration_text((job.ended_s or time.time()) - job.began_s)
        )
        code = "" if job.exit_code is None else str(job.exit_code)
        table.add_row(escape(job.name), escape(job.study), job.state, code, began, took)
    console().print(table)
    return 0


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))
