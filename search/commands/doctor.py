"""`chorale doctor [--address A] [--runs FOLDER] [--json]`: health checks of all machines."""

import json
import secrets
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chorale.cluster.doctor.checks import Check

HELP = """\
usage: chorale doctor [--address A] [--runs FOLDER] [--allow-no-token] [--json]

Checks every node of a cluster: whether it answers, runs the same versions, has a working PyTorch
installation and GPUs, enough memory and disk, the right time, and access to the folder of studies;
and whether the cluster requires a token. For each failure it prints the command that fixes it; the
exit code is 1 if a check fails. Without --address: checks this machine alone.

  --address A       auto or HOST:PORT: joins a cluster; http://HOST:8265 or ray://HOST:10001: runs
                    the checks there as a job
  --runs FOLDER     the folder of all studies (runs)
  --allow-no-token  run the job even if the cluster requires no token
  --json            print JSON
"""
CHECK_STYLES = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "failed": "[red]FAILED[/]"}


def run(args: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    from chorale.cluster.connection.addresses import AUTO_ADDRESS, is_remote
    from chorale.cluster.doctor.doctor import all_ok, check_cluster
    from chorale.cluster.environment import in_ray_job
    from chorale.datasets.errors import UserError
    from chorale.search.commands.study_options import parse_study_options

    given = parse_study_options(args, options=["address"], flags=["json", "allow-no-token"])
    if given.study is not None:
        raise UserError(
            f"chorale doctor takes no name, but got '{given.study}'; a cluster is named with "
            f"--address"
        )
    address = given.options.get("address") or (AUTO_ADDRESS if in_ray_job() else None)
    if is_remote(address):
        return _send(str(address), args, allow_no_token="allow-no-token" in given.flags)
    checks = check_cluster(address, folder=str(given.runs.root))
    if "json" in given.flags:
        rows = [
            {
                "where": check.where,
                "what": check.what,
                "state": check.state.value,
                "said": check.detail,
                "mend": check.fix,
            }
            for check in checks
        ]
        print(json.dumps(rows, indent=2))
    else:
        _show(checks)
    return 0 if all_ok(checks) else 1


def _send(address: str, args: Sequence[str], *, allow_no_token: bool) -> int:
    """Runs the checks as a job inside the cluster."""
    from chorale.cluster.jobs.job_folder import write_job_folder
    from chorale.cluster.jobs.jobs import ATTEMPT_SEPARATOR, RayJobs
    from chorale.search.commands.job_options import follow_job
    from chorale.search.commands.submit import SENT_PACKAGES

    rest, kept = list(args), []
    while rest:
        arg = rest.pop(0)
        if arg == "--address":
            rest.pop(0)
        elif not arg.startswith("--address="):
            kept.append(arg)
    jobs = RayJobs(address, allow_no_token=allow_no_token)
    with tempfile.TemporaryDirectory(prefix="chorale-") as folder:
        job_folder = write_job_folder(SENT_PACKAGES, {}, Path(folder))
        name = f"doctor{ATTEMPT_SEPARATOR}{secrets.token_hex(3)}"  # no study can have this name
        job = jobs.submit(
            name, ["python", "-m", "chorale.search", "doctor", *kept], folder=job_folder.folder
        )
    return follow_job(jobs, job)


def _show(checks: Sequence["Check"]) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("where", "check", "", "found"):
        table.add_column(name, overflow="fold", no_wrap=name in ("check", ""))
    before = None
    for check in checks:
        where = "" if check.where == before else check.where
        before = check.where
        table.add_row(
            escape(where), check.what, CHECK_STYLES[check.state.value], escape(check.detail)
        )
    console.print(table)
    for check in checks:
        if check.fix and check.state.value != "ok":
            console.print(
                f"{CHECK_STYLES[check.state.value]} {escape(check.where)}, {check.what}: "
                f"[bold]{escape(check.fix)}[/]",
                soft_wrap=True,
            )
    n_failed = sum(check.state.value == "failed" for check in checks)
    n_warned = sum(check.state.value == "warning" for check in checks)
    console.print(
        f"{len(checks)} checks: {n_failed or 'none'} failed, {n_warned or 'no'} warning"
        f"{'' if n_warned == 1 else 's'}"
    )
