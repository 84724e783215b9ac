"""Messages between the driver and the workers of Ray Tune; this module needs no Ray.

They travel in a `Sealed`, since Tune would print, flatten, copy and store values that it can read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TRIAL = "trial"
"""The only key of a Tune trial's config: a sealed, pickled pair of run id and `TrialSpec`."""

MESSAGE = "message"
"""Our only key in a Tune result: a sealed `ProgressReport` or `TrialEnded`, or None if the reports
bypassed Ray."""


class Sealed:
    """Opaque wrapper for values that pass through Tune; read once, so that Tune keeps nothing."""

    def __init__(self, content: Any) -> None:
        self._content = content

    def __deepcopy__(self, memo: object) -> "Sealed":
        return self

    def take(self) -> Any:
        """Returns the content and removes it."""
        content, self._content = self._content, None
        return content


@dataclass(frozen=True)
class ProgressReport:
    """A work function's report, sent to the driver."""

    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class TrialEnded:
    """The end of a trial, sent to the driver: its pickled `Outcome`."""

    outcome: bytes
    discard_process: bool
    """whether the process must not be reused"""
