"""`chorale jobs stop NAME [--address URL]`: ends a submitted sweep so that it can go on later."""

from collections.abc import Sequence

from chorale.search.commands.job_words import OPTIONS, job_words

HELP = f"""\
usage: chorale jobs stop NAME [--address URL] [--allow-no-token]

Stops a job and waits until it has left everything in order. What is finished is kept; submitted
again, the study goes on. NAME is a job, or a study, which stands for its newest job.

{OPTIONS}
"""


def run(words: Sequence[str]) -> int:
    """Runs the command; gives its exit code."""
    if any(word in ("-h", "--help") for word in words):
        print(HELP)
        return 0
    given = job_words(words)
    name = given.named("jobs stop")
    jobs = given.open()
    job = jobs.find(name)
    if not job.alive:
        print(f"job {job.name} has ended already: {job.state}")
        return 0
    job = jobs.stop(job.name)
    print(f"job {job.name}: {job.state}; go on with it: submit the same again")
    return 0
