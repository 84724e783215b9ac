"""`chorale jobs list`: the jobs that were submitted to a cluster."""

import dataclasses
import json
import time

from chorale.search.commands.command import command
from chorale.search.commands.job_options import JobServer, job_options
from chorale.search.commands.parameters import json_option


@command(examples=["chorale jobs list --address http://HEAD:8265", "chorale jobs list --json"])
@json_option
@job_options
def run(server: JobServer, as_json: bool) -> int:
    """Lists the jobs that chorale submit started on a cluster, the newest first."""
    jobs = server.open()
    found = jobs.all_jobs()[::-1]
    if as_json:
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

    from chorale.search.commands.console import console
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
