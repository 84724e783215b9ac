"""`chorale submit SWEEP.yaml [--key value ...]`: a sweep as a job."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chorale.search.commands.command import command
from chorale.search.commands.job_options import (
    JobServer,
    follow_job,
    follow_option,
    job_options,
    jobs_command,
)
from chorale.search.commands.key_words import one_name, split_key_words, sweep_keys
from chorale.search.commands.parameters import SweepWords

if TYPE_CHECKING:
    from chorale.search.config.resolve import ResolvedSweep

SENT_PACKAGES = tuple(
    f"chorale.{name}" for name in ("datasets", "lightning_models", "cluster", "search")
)


@command(
    keys=True,
    examples=[
        "chorale submit my.yaml --address http://HEAD:8265 --follow",
        "chorale submit gtzan --dataset.root data/gtzan --budget.trials 200",
    ],
)
@click.argument("words", nargs=-1, type=SweepWords(), metavar="SWEEP.yaml [--KEY VALUE ...]")
@follow_option
@job_options
def run(server: JobServer, words: tuple[str, ...], follow: bool) -> int:
    """Runs a sweep on a Ray cluster, as a job that its head node drives.

    This machine may be switched off. The code of this Chorale and the sweep file are uploaded; the
    data and the packages that it needs must already be on the cluster (check with: chorale doctor
    --address URL). The job has the study's name. One that was stopped or died is resumed when it is
    submitted again.

    Each key of the file can be given, as for chorale sweep (chorale keys). Relative paths, as in
    runs and dataset.root, are below the home folder of the user that Ray runs as on the head node.
    """
    from chorale.search.config import yaml_file
    from chorale.search.config.resolve import resolve_file

    names, keys = split_key_words(words, sweep_keys())
    what = "a sweep file, or the name of a shipped sweep (chorale submit SWEEP.yaml)"
    file = one_name(names, what)
    resolved = resolve_file(file, yaml_file.parse_overrides(keys))
    return submit_sweep(resolved, server, file=file, keys=keys, wait=follow)


def submit_sweep(
    resolved: "ResolvedSweep", server: JobServer, *, file: str, keys: Sequence[str], wait: bool
) -> int:
    """Submits a validated sweep; returns the job's exit code, or 0 without `wait`.

    Args:
        resolved: the sweep, as it was validated on this machine.
        server: the cluster.
        file: the sweep file as it was named.
        keys: the sweep's keys as they were typed.
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
    command = ["python", "-m", "chorale.search", "sweep", name, "--continue", *keys]
    if is_remote(resolved.sweep.cluster.address):
        command += ["--cluster.address", "auto"]
    if server.allow_no_token:
        command += ["--cluster.allow_no_token", "true"]
    jobs = server.open()
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
