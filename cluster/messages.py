"""What driver and workers of Ray Tune say to each other, sealed; it needs no Ray to be read.

In between stands Tune, which would print, flatten, copy and store whatever it can look into.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TRIAL = "trial"
"""The one key of a Tune trial's config: sealed and pickled, Tune's name of it and a `TrialSpec`."""

MESSAGE = "message"
"""The one key of a Tune result that is ours: a sealed `Said`, `Ended`, or None if it was told."""


class Sealed:
    """Carries something through Tune unseen, and gives it away once, so that Tune keeps nothing."""

    def __init__(self, content: Any) -> None:
        self._content = content

    def __deepcopy__(self, memo: object) -> "Sealed":
        return self

    def take(self) -> Any:
        """What is inside; afterwards nothing is."""
        content, self._content = self._content, None
        return content


@dataclass(frozen=True)
class Said:
    """A report on its way to the driver."""

    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Ended:
    """The end of a trial on its way to the driver: its pickled `Outcome`, and whether the process
    should not be used again.
    """

    outcome: bytes
    spoilt: bool
