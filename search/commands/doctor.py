"""`chorale doctor`: health checks of all machines."""

import json
import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chorale.search.commands.command import command
from chorale.search.commands.console import console
from chorale.search.commands.parameters import flag, json_option, runs_option

if TYPE_CHECKING:
    from chorale.cluster.doctor.checks import Check

CHECK_STYLES = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "failed": "[red]FAILED[/]"}


@command(
    examples=[
        "chorale doctor",
        "chorale doctor --address http://HEAD:8265",
        "chorale doctor --json",
    ]
)
@click.option(
    "--address",
    metavar="A",
    show_default="this machine alone",
    help="auto or HOST:PORT: joins a cluster; http://HOST:8265 or ray://HOST:10001: runs the "
    "checks there as a job.",
)
@flag("--allow-no-token", "Run the job even if the cluster requires no token.")
@json_option
@runs_option
def run(address: str | None, allow_no_token: bool, as_json: bool, runs: str) -> int:
    """Checks this machine, or every node of a cluster.

    It checks whether each answers, runs the same versions, has a working PyTorch installation and
    GPUs, enough memory and disk, the right time, and access to the folder of studies; and whether
    the cluster requires a token. For each failure it prints the command that fixes it; the exit
    code is 1 if a check fails.
    """
    from chorale.cluster.connection.addresses import AUTO_ADDRESS, is_remote
    from chorale.cluster.doctor.doctor import all_ok, check_cluster
    from chorale.cluster.environment import in_ray_job
    from chorale.search.paths import folder_of

    address = address or (AUTO_ADDRESS if in_ray_job() else None)
    if is_remote(address):
        words = ["--runs", runs, *(["--json"] if as_json else [])]
        return _send(str(address), words, allow_no_token=allow_no_token)
    checks = check_cluster(address, folder=str(folder_of(runs)))
    if as_json:
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


def _send(address: str, words: Sequence[str], *, allow_no_token: bool) -> int:
    """Runs the checks as a job inside the cluster."""
    from chorale.cluster.jobs.job_folder import write_job_folder
    from chorale.cluster.jobs.jobs import ATTEMPT_SEPARATOR, RayJobs
    from chorale.search.commands.job_options import follow_job
    from chorale.search.commands.submit import SENT_PACKAGES

    jobs = RayJobs(address, allow_no_token=allow_no_token)
    with tempfile.TemporaryDirectory(prefix="chorale-") as folder:
        job_folder = write_job_folder(SENT_PACKAGES, {}, Path(folder))
        name = f"doctor{ATTEMPT_SEPARATOR}{secrets.token_hex(3)}"  # no study can have this name
        job = jobs.submit(
            name, ["python", "-m", "chorale.search", "doctor", *words], folder=job_folder.folder
        )
    return follow_job(jobs, job)


def _show(checks: Sequence["Check"]) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    out = console()
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
    out.print(table)
    for check in checks:
        if check.fix and check.state.value != "ok":
            out.print(
                f"{CHECK_STYLES[check.state.value]} {escape(check.where)}, {check.what}: "
                f"[bold]{escape(check.fix)}[/]",
                soft_wrap=True,
            )
    n_failed = sum(check.state.value == "failed" for check in checks)
    n_warned = sum(check.state.value == "warning" for check in checks)
    out.print(
        f"{len(checks)} checks: {n_failed or 'none'} failed, {n_warned or 'no'} warning"
        f"{'' if n_warned == 1 else 's'}"
    )
