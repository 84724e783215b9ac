"""`chorale jobs logs NAME [--follow] [--address URL]`: what a submitted sweep printed."""

from collections.abc import Sequence

from chorale.search.commands.job_words import OPTIONS, follow, job_words

HELP = f"""\
usage: chorale jobs logs NAME [--follow] [--address URL] [--allow-no-token]

Prints what a job has printed so far. NAME is a job, or a study, which stands for its newest job.

{OPTIONS}
  --follow          go on until it has ended, and give its exit code; Ctrl-C lets go of it
"""


def run(words: Sequence[str]) -> int:
    """Runs the command; gives its exit code."""
    if any(word in ("-h", "--help") for word in words):
        print(HELP)
        return 0
    given = job_words(words, flags=["follow"])
    name = given.named("jobs logs")
    jobs = given.open()
    job = jobs.find(name)
    if "follow" in given.flags:
        return follow(jobs, job.name)
    print(jobs.log(job.name), end="")
    return 0
