"""`chorale doctor [--address A] [--runs FOLDER] [--json]`: whether all machines are well."""

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

Looks at every node of a cluster: whether it answers, runs the same versions, has PyTorch that fits
together and GPUs that compute, memory, disk and the time of day, and sees the folder of studies;
and whether strangers are turned away. For each failure it says the command that mends it; the exit
code is 1 where something fails. Without --address: this machine alone.

  --address A       auto or HOST:PORT: a cluster that is joined; http://HOST:8265 or
                    ray://HOST:10001: one where the doctor runs as a job
  --runs FOLDER     the folder of all studies (runs)
  --allow-no-token  look as a job also into a cluster that asks nobody for a token
  --json            the same for other programs
"""
STYLES = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "failed": "[red]FAILED[/]"}


def run(words: Sequence[str]) -> int:
    """Runs the command; gives its exit code."""
    if any(word in ("-h", "--help") for word in words):
        print(HELP)
        return 0
    from chorale.cluster.connection.addresses import AUTO, is_remote
    from chorale.cluster.doctor.doctor import all_ok, examine
    from chorale.cluster.environment import in_job
    from chorale.datasets.errors import UserError
    from chorale.search.commands.study_words import study_words

    given = study_words(words, options=["address"], flags=["json", "allow-no-token"])
    if given.study is not None:
        raise UserError(
            f"chorale doctor takes no name, but got '{given.study}'; a cluster is named with "
            f"--address"
        )
    address = given.options.get("address") or (AUTO if in_job() else None)
    if is_remote(address):
        return _send(str(address), words, allow_no_token="allow-no-token" in given.flags)
    checks = examine(address, folder=str(given.runs.root))
    if "json" in given.flags:
        said = [{**vars(check), "state": check.state.value} for check in checks]
        print(json.dumps(said, indent=2))
    else:
        _show(checks)
    return 0 if all_ok(checks) else 1


def _send(address: str, words: Sequence[str], *, allow_no_token: bool) -> int:
    """Lets the doctor look from inside the cluster."""
    from chorale.cluster.jobs.job_folder import pack
    from chorale.cluster.jobs.jobs import BETWEEN, Jobs
    from chorale.search.commands.job_words import follow
    from chorale.search.commands.submit import PACKAGES

    rest, kept = list(words), []
    while rest:
        word = rest.pop(0)
        if word == "--address":
            rest.pop(0)
        elif not word.startswith("--address="):
            kept.append(word)
    jobs = Jobs(address, allow_no_token=allow_no_token)
    with tempfile.TemporaryDirectory(prefix="chorale-") as folder:
        parcel = pack(PACKAGES, {}, Path(folder))
        name = f"doctor{BETWEEN}{secrets.token_hex(3)}"  # no study can be called so
        job = jobs.submit(
            name, ["python", "-m", "chorale.search", "doctor", *kept], folder=parcel.folder
        )
    return follow(jobs, job)


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
        table.add_row(escape(where), check.what, STYLES[check.state.value], escape(check.said))
    console.print(table)
    for check in checks:
        if check.mend and check.state.value != "ok":
            console.print(
                f"{STYLES[check.state.value]} {escape(check.where)}, {check.what}: "
                f"[bold]{escape(check.mend)}[/]",
                soft_wrap=True,
            )
    n_failed = sum(check.state.value == "failed" for check in checks)
    n_warned = sum(check.state.value == "warning" for check in checks)
    console.print(
        f"{len(checks)} checks: {n_failed or 'none'} failed, {n_warned or 'no'} warning"
        f"{'' if n_warned == 1 else 's'}"
    )
