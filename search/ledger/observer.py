"""What a ledger reports of its writes, to whoever measures them."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from chorale.search.ledger.reader import Row


class LedgerObserver(Protocol):
    """Receives what was committed; cannot change it."""

    def committed(self, duration_s: float, *, durable: bool) -> None:
        """A transaction was committed, after `duration_s` seconds; any thread may call this."""
        ...

    def recorded(self, stage: str, row: "Row") -> None:
        """A row of a stage was committed, which replaces an earlier one of the same key."""
        ...
