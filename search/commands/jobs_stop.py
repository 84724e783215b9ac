"""`chorale jobs stop NAME`: stops a submitted job so that it can be resumed."""

from chorale.search.commands.command import command
from chorale.search.commands.job_options import JobServer, job_argument, job_options


@command(examples=["chorale jobs stop my_study --address http://HEAD:8265"])
@job_argument
@job_options
def run(server: JobServer, name: str) -> int:
    """Stops a job and waits until it has shut down cleanly.

    Finished trials are kept; submitted again, the study is resumed.
    """
    jobs = server.open()
    job = jobs.find(name)
    if not job.is_alive:
        print(f"job {job.name} has already ended: {job.state}")
        return 0
    job = jobs.stop(job.name)
    print(f"job {job.name}: {job.state}; to resume it, submit the same again")
    return 0
