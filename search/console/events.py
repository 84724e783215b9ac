"""Study listeners: the events of training runs, for the progress display and for TensorBoard."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from chorale.search.ledger.reader import Row


@dataclass(frozen=True)
class TrialStarted:
    """The start of a training run: its number, display name, architecture and parameters."""

    trial_id: int
    name: str
    architecture: str
    params: Mapping[str, Any]


class StudyListener(Protocol):
    """Receives the events of training runs; cannot change the sweep."""

    def started(self, trial: TrialStarted) -> None:
        """A training run starts."""
        ...

    def reported(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> None:
        """An epoch has ended."""
        ...

    def ended(self, trial_id: int, row: "Row") -> None:
        """A training run has ended and is committed."""
        ...


@dataclass(frozen=True)
class StudyListeners:
    """Several listeners as one."""

    each: tuple[StudyListener, ...]

    def started(self, trial: TrialStarted) -> None:
        """Notifies each listener."""
        for listener in self.each:
            listener.started(trial)

    def reported(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> None:
        """Notifies each listener."""
        for listener in self.each:
            listener.reported(trial_id, step, metrics)

    def ended(self, trial_id: int, row: "Row") -> None:
        """Notifies each listener."""
        for listener in self.each:
            listener.ended(trial_id, row)
