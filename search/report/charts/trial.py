"""A trial as charts show it: its marks by state, and what appears where it is pointed at."""

from dataclasses import dataclass
from typing import Any

from chorale.search.report.charts.style import BLUE, CROSS, MUTED, PAPER, PURPLE, marks, tooltip

STATE_LABELS = {"COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed"}


@dataclass(frozen=True)
class TrialMark:
    """One trial: its objective (None if it failed), and its main parameters on one line.

    `reason` says why it failed.
    """

    number: int
    state: str
    value: float | None
    architecture: str = ""
    parameters: str = ""
    reason: str = ""

    @property
    def label(self) -> str:
        """Its state in a word."""
        return STATE_LABELS.get(self.state, self.state)

    def row(self) -> dict[str, Any]:
        """Its fields in a chart's data; those that it lacks are left out."""
        every = {
            "trial": self.number,
            "state": self.label,
            "value": self.value,
            "architecture": self.architecture,
            "parameters": self.parameters,
            "reason": self.reason,
        }
        return {name: value for name, value in every.items() if value not in (None, "")}


def trial_tooltip(
    objective: str, *more: str | tuple[str, str] | tuple[str, str, str]
) -> list[dict[str, Any]]:
    """What a trial's mark shows where it is pointed at, in Vega-Lite."""
    first = (("trial", "trial", "d"), "state", ("value", objective, ".3f"))
    return tooltip(*first, *more, "architecture", "parameters")


def state_marks() -> dict[str, Any]:
    """Channels that tell done, pruned and failed trials apart."""
    return marks(
        "state",
        {
            "done": ("circle", BLUE, BLUE),
            "pruned": ("circle", PAPER, MUTED),
            "failed": (CROSS, PAPER, PURPLE),
        },
    )
