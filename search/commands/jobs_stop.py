"""`chorale jobs stop NAME [--address URL]`: stops a submitted job so that it can be resumed."""

from collections.abc import Sequence

from chorale.search.commands.job_options import JOB_OPTIONS_HELP, parse_job_options

HELP = f"""\
usage: chorale jobs stop NAME [--address URL] [--allow-no-token]

Stops a job and waits until it has shut down cleanly. Finished trials are kept; submitted again, the
study is resumed. NAME is a job, or a study, which stands for its newest job.

{JOB_OPTIONS_HELP}
"""


def run(args: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    given = parse_job_options(args)
    name = given.require_name("jobs stop")
    jobs = given.open()
    job = jobs.find(name)
    if not job.is_alive:
        print(f"job {job.name} has already ended: {job.state}")
        return 0
    job = jobs.stop(job.name)
    print(f"job {job.name}: {job.state}; to resume it, submit the same again")
    return 0
