"""The experiment tracker of a sweep, where its file names one (`track`).

What is written, and how, is in `search.tracking`; here is only when.
"""

import contextlib
import shlex
import subprocess
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from chorale.search.config.schema import SweepConfig
from chorale.search.console.progress import Progress

if TYPE_CHECKING:
    from chorale.search.tracking.base import Tracker

GIT_S = 5.0
"""How long git may take to name the commit, in seconds."""


def tracker_of(sweep: SweepConfig) -> "Tracker | None":
    """The tracker of a sweep, without asking its server anything; None where it has none.

    Raises:
        UserError: there is no such tracker, or it is not named where its server is.
    """
    if sweep.track is None:
        return None
    from chorale.search.tracking.sync import open_tracker

    return open_tracker(sweep.track)


def tracking(
    sweep: SweepConfig, tracker: "Tracker | None", progress: Progress
) -> AbstractContextManager[None]:
    """Writes the study to the tracker while the block runs, and at its end."""
    if tracker is None:
        return contextlib.nullcontext()
    from chorale.search.tracking.background import tracked

    options = {"runs": sweep.runs if sweep.runs != "runs" else None, "store": sweep.store}
    words = [word for name, one in options.items() if one for word in (f"--{name}", one)]
    return tracked(
        tracker,
        study=sweep.name,
        paths=sweep.paths,
        ledger_url=sweep.ledger_url,
        catch_up=shlex.join(["chorale", "track", "sync", sweep.name, *words]),
        warn=lambda line: progress.stage("track", line),
    )


def about_code(sweep: SweepConfig) -> dict[str, str]:
    """The git commit of the working directory, for a study that is tracked and has one."""
    if sweep.track is None:
        return {}
    words = ["git", "rev-parse", "--verify", "HEAD"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=GIT_S, check=False)
    except (OSError, subprocess.SubprocessError):  # git is not installed, or hangs
        return {}
    return {} if done.returncode else {"commit": done.stdout.strip()}
