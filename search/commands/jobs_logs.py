"""`chorale jobs logs NAME`: the output of a submitted job."""

from chorale.search.commands.command import command
from chorale.search.commands.job_options import (
    JobServer,
    follow_job,
    follow_option,
    job_argument,
    job_options,
)


@command(examples=["chorale jobs logs my_study", "chorale jobs logs my_study --follow"])
@job_argument
@follow_option
@job_options
def run(server: JobServer, name: str, follow: bool) -> int:
    """Prints the output of a job so far."""
    jobs = server.open()
    job = jobs.find(name)
    if follow:
        return follow_job(jobs, job.name)
    print(jobs.log(job.name), end="")
    return 0
