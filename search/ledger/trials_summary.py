"""A study's trials in a few numbers, from rows of the ledger; `status` and `list` print them."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chorale.search.ledger.reader import Row


def trials_summary(rows: "Mapping[str, Row]", objective: str) -> dict[str, Any]:
    """A study's trials by final state, and the best one: its number, architecture and value."""
    counts = Counter(row.state for row in rows.values())
    complete = [row for row in rows.values() if row.state == "COMPLETE"]
    best = max(complete, key=lambda row: row.facts["metrics"][objective], default=None)
    return {
        "trials": {
            "complete": counts["COMPLETE"],
            "pruned": counts["PRUNED"],
            "failed": counts["FAIL"],
        },
        "objective": objective,
        "best": None
        if best is None
        else {
            "trial": int(best.key),
            "architecture": best.facts.get("architecture"),
            "value": best.facts["metrics"][objective],
        },
    }
