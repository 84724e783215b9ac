"""A request to interrupt a training in this process soon, with its state saved for a resume.

`resume.ResumeCallback` looks at it after each step and each epoch.
"""

import time

MAX_WAIT_S = 2.0
"""How long an interruption waits for the end of an epoch, in seconds; after that the state is that
of the end of the epoch before."""


class TrainingInterrupted(Exception):  # noqa: N818 - it names what happened to a training
    """The training was interrupted by request; it goes on from the saved state."""


class SaveRequest:
    """Whether, and since when, a training should save its state and end."""

    def __init__(self) -> None:
        """Nothing is requested yet."""
        self._since_s: float | None = None

    def request(self) -> None:
        """Asks the training to save its state and end; safe in a signal handler."""
        if self._since_s is None:
            self._since_s = time.perf_counter()

    @property
    def is_made(self) -> bool:
        """Whether it was requested."""
        return self._since_s is not None

    @property
    def is_urgent(self) -> bool:
        """Whether it was requested `MAX_WAIT_S` ago, and no epoch has ended since."""
        return self._since_s is not None and time.perf_counter() - self._since_s >= MAX_WAIT_S
