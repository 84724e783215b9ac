"""`chorale submit SWEEP.yaml [--address URL] [--follow] [--key value ...]`: a sweep as a job."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.search.commands.job_options import (
    ALLOW_NO_TOKEN,
    JOB_OPTIONS_HELP,
    JobOptions,
    follow_job,
    jobs_command,
    parse_job_options,
)

if TYPE_CHECKING:
    from chorale.search.config.resolve import ResolvedSweep

HELP = f"""\
usage: chorale submit SWEEP.yaml [--address URL] [--follow] [--allow-no-token] [--key value ...]

Runs a sweep on a Ray cluster, as a job that its head node drives: this machine may be switched off.
The code of this Chorale and the sweep file are uploaded; the data and the packages that it needs
must already be on the cluster (check with: chorale doctor --address URL). The job has the study's
name. One that was stopped or died is resumed when it is submitted again.

Each key of the file can be given, as for chorale sweep. Relative paths, as in `runs` and
`dataset.root`, are below the home folder of the user that Ray runs as on the head node.

{JOB_OPTIONS_HELP}
  --follow          show the job's output, and exit with its code; Ctrl-C stops following, not
                    the job
"""
SENT_PACKAGES = tuple(
    f"chorale.{name}" for name in ("datasets", "lightning_models", "cluster", "search")
)


def run(args: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    from chorale.datasets.errors import UserError
    from chorale.search.config import yaml_file
    from chorale.search.config.resolve import resolve_file

    given = parse_job_options(args, flags=["follow"], keys=True)
    if given.name is None:
        raise UserError(
            "expected a sweep file, or the name of a shipped sweep; type: chorale submit SWEEP.yaml"
        )
    resolved = resolve_file(given.name, yaml_file.parse_overrides(given.rest))
    return submit_sweep(resolved, given, file=given.name, wait="follow" in given.flags)


def submit_sweep(resolved: "ResolvedSweep", given: JobOptions, *, file: str, wait: bool) -> int:
    """Submits a validated sweep; returns the job's exit code, or 0 without `wait`.

    Args:
        resolved: the sweep, as it was validated on this machine.
        given: the cluster, and the sweep's keys as they were typed.
        file: the sweep file as it was named.
        wait: whether to follow the job.

    Raises:
        ClusterError: the cluster refuses it, or a job of this study is already running.
    """
    from chorale.cluster.connection.addresses import is_remote
    from chorale.cluster.jobs.job_folder import MIB, write_job_folder
    from chorale.search.config import yaml_file

    path = yaml_file.find_sweep_file(file)
    shipped = path.parent == yaml_file.SHIPPED_SWEEPS
    name = path.stem if shipped else f"{path.stem}.yaml"
    command = ["python", "-m", "chorale.search", "sweep", name, "--continue", *given.rest]
    if is_remote(resolved.sweep.cluster.address):
        command += ["--cluster.address", "auto"]
    if ALLOW_NO_TOKEN in given.flags:
        command += ["--cluster.allow_no_token", "true"]
    jobs = given.open()
    with tempfile.TemporaryDirectory(prefix="chorale-") as folder:
        job_folder = write_job_folder(SENT_PACKAGES, {} if shipped else {name: path}, Path(folder))
        print(f"packed     {job_folder.n_files} files, {job_folder.n_bytes / MIB:.1f} MiB")
        for left in job_folder.skipped_files:
            print(f"left out   {left}, which is too large")
        job = jobs.submit(resolved.sweep.name, command, folder=job_folder.folder)
    print(f"submitted  job {job} to {jobs.url}", flush=True)
    if wait:
        return follow_job(jobs, job)
    print(f"follow it with:  {jobs_command(jobs, 'logs', job)} --follow")
    return 0
