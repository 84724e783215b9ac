"""`chorale jobs logs NAME [--follow] [--address URL]`: the output of a submitted job."""

from collections.abc import Sequence

from chorale.search.commands.job_options import JOB_OPTIONS_HELP, follow_job, parse_job_options

HELP = f"""\
usage: chorale jobs logs NAME [--follow] [--address URL] [--allow-no-token]

Prints the output of a job so far. NAME is a job, or a study, which stands for its newest job.

{JOB_OPTIONS_HELP}
  --follow          keep printing until the job ends, and exit with its code; Ctrl-C stops
                    following, not the job
"""


def run(args: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    given = parse_job_options(args, flags=["follow"])
    name = given.require_name("jobs logs")
    jobs = given.open()
    job = jobs.find(name)
    if "follow" in given.flags:
        return follow_job(jobs, job.name)
    print(jobs.log(job.name), end="")
    return 0
