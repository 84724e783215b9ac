"""`chorale submit SWEEP.yaml [--address URL] [--follow] [--key value ...]`: a sweep as a job."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.search.commands.job_words import ALLOW, OPTIONS, JobWords, again, follow, job_words

if TYPE_CHECKING:
    from chorale.search.config.resolve import Resolved

HELP = f"""\
usage: chorale submit SWEEP.yaml [--address URL] [--follow] [--allow-no-token] [--key value ...]

Runs a sweep on a Ray cluster, as a job that its head drives: this machine may be switched off. The
code of this Chorale and the sweep file are sent along; the data and the packages that it needs must
be there already (chorale doctor --address URL looks). The job has the study's name. One that was
stopped, or broke off, goes on when it is submitted again.

Each key of the file can be given, as for chorale sweep. Relative paths, as in `runs` and
`dataset.root`, are below the home folder of the user that Ray runs as on the head.

{OPTIONS}
  --follow          show what the job prints, and give its exit code; Ctrl-C lets go of it
"""
PACKAGES = tuple(
    f"chorale.{name}" for name in ("datasets", "lightning_models", "cluster", "search")
)


def run(words: Sequence[str]) -> int:
    """Runs the command; gives its exit code."""
    if any(word in ("-h", "--help") for word in words):
        print(HELP)
        return 0
    from chorale.datasets.errors import UserError
    from chorale.search.config import yaml_file
    from chorale.search.config.resolve import resolve_file

    given = job_words(words, flags=["follow"], keys=True)
    if given.name is None:
        raise UserError(
            "expected a sweep file, or the name of a shipped sweep; type: chorale submit SWEEP.yaml"
        )
    resolved = resolve_file(given.name, yaml_file.overrides(given.rest))
    return send(resolved, given, file=given.name, wait="follow" in given.flags)


def send(resolved: "Resolved", given: JobWords, *, file: str, wait: bool) -> int:
    """Submits a sweep that was found good; gives the job's exit code, or 0 without `wait`.

    Args:
        resolved: the sweep, as it is here.
        given: the cluster, and the sweep's keys as they were typed.
        file: the sweep file as it was named.
        wait: whether to follow the job.

    Raises:
        ClusterError: the cluster does not take it, or a job of this study runs already.
    """
    from chorale.cluster.connection.addresses import is_remote
    from chorale.cluster.jobs.job_folder import MIB, pack
    from chorale.search.config import yaml_file

    path = yaml_file.find(file)
    shipped = path.parent == yaml_file.SHIPPED
    name = path.stem if shipped else f"{path.stem}.yaml"
    command = ["python", "-m", "chorale.search", "sweep", name, "--continue", *given.rest]
    if is_remote(resolved.sweep.cluster.address):
        command += ["--cluster.address", "auto"]
    if ALLOW in given.flags:
        command += ["--cluster.allow_no_token", "true"]
    jobs = given.open()
    with tempfile.TemporaryDirectory(prefix="chorale-") as folder:
        parcel = pack(PACKAGES, {} if shipped else {name: path}, Path(folder))
        print(f"packed     {parcel.n_files} files, {parcel.n_bytes / MIB:.1f} MiB")
        for left in parcel.left_out:
            print(f"left out   {left}, which is large")
        job = jobs.submit(resolved.sweep.name, command, folder=parcel.folder)
    print(f"submitted  job {job} to {jobs.url}", flush=True)
    if wait:
        return follow(jobs, job)
    print(f"follow it with:  {again(jobs, 'logs', job)} --follow")
    return 0
