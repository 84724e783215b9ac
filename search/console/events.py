"""What the stages of a sweep tell those who watch it: the progress display and TensorBoard."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from chorale.search.ledger.reader import Row


@dataclass(frozen=True)
class Started:
    """A training run that begins: its number and what a person calls it, what is trained."""

    trial_id: int
    name: str
    architecture: str
    params: Mapping[str, Any]


class Listener(Protocol):
    """Watches; nothing it does changes the sweep."""

    def started(self, trial: Started) -> None:
        """A training run begins."""
        ...

    def reported(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> None:
        """An epoch is over."""
        ...

    def ended(self, trial_id: int, row: "Row") -> None:
        """A training run is over and committed."""
        ...


@dataclass(frozen=True)
class Listeners:
    """Several listeners as one."""

    each: tuple[Listener, ...]

    def started(self, trial: Started) -> None:
        """Tells each."""
        for listener in self.each:
            listener.started(trial)

    def reported(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> None:
        """Tells each."""
        for listener in self.each:
            listener.reported(trial_id, step, metrics)

    def ended(self, trial_id: int, row: "Row") -> None:
        """Tells each."""
        for listener in self.each:
            listener.ended(trial_id, row)
