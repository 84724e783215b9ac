"""Validation, out-of-fold and test score on one line each, with the optimism (minus test)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chorale.search.report.charts.chart import Chart, Table
from chorale.search.report.charts.rows import row_names, text_column
from chorale.search.report.charts.style import (
    BLUE,
    GREEN,
    MUTED,
    ORANGE,
    PAPER,
    marks,
    padded_range,
    quantity,
    tooltip,
    vega_lite,
)
from chorale.search.report.charts.text import capitalized

ROW = 30
SPLITS = {
    "validation": ("circle", PAPER, GREEN),
    "out-of-fold": ("square", BLUE, BLUE),
    "test": ("diamond", ORANGE, ORANGE),
}
"""Shape, fill and stroke of each split."""


@dataclass(frozen=True)
class SplitAccuracies:
    """Scores (0 to 1) of one ensemble or baseline; `optimism` is written at the line's end."""

    name: str
    validation: float | None
    out_of_fold: float
    test: float
    optimism: str = ""

    @property
    def by_split(self) -> dict[str, float]:
        """The scores that it has, by the name of the split."""
        first = {} if self.validation is None else {"validation": self.validation}
        return {**first, "out-of-fold": self.out_of_fold, "test": self.test}

    def text(self, split: str) -> str:
        """The score of a split, or a dash."""
        return f"{self.by_split[split]:.1%}" if split in self.by_split else "\N{EN DASH}"


def accuracy_by_split(rows: Sequence[SplitAccuracies], *, metric: str = "accuracy") -> Chart:
    """Draws one line per row, from its lowest to its highest accuracy, or mAP as `metric`."""
    points: list[dict[str, Any]] = [
        {"name": row.name, "split": split, "value": value}
        for row in rows
        for split, value in row.by_split.items()
    ]
    spans = [
        {
            "name": row.name,
            "low": min(row.by_split.values()),
            "high": max(row.by_split.values()),
            "optimism": row.optimism,
        }
        for row in rows
    ]
    ends = padded_range([one["value"] for one in points])
    share: dict[str, Any] = {"ends": ends, "format": "~%", "tickCount": 8}
    layers: list[dict[str, Any]] = [
        {
            "mark": {"type": "rule", "color": MUTED},
            "encoding": {
                "y": row_names(), "x": quantity("low", **share), "x2": {"field": "high"},
            },
        },
        {
            "data": {"values": points},
            "mark": {"type": "point", "size": 80, "opacity": 1},
            "encoding": {
                "y": row_names(),
                "x": quantity("value", **share),
                **marks("split", SPLITS),
                "tooltip": tooltip("name", "split", ("value", metric, ".1%")),
            },
        },
        *text_column("optimism", "optimism (points)", 16),
    ]  # fmt: skip
    texts = [f"{r.name}: out-of-fold {r.out_of_fold:.1%}, test {r.test:.1%}" for r in rows]
    return Chart(
        "accuracy-by-split",
        f"{capitalized(metric)} on validation, out-of-fold and test tracks",
        "; ".join(texts) + ".",
        vega_lite(height=ROW * len(rows), data={"values": spans}, layer=layers),
        Table(
            ["name", *SPLITS, "optimism (points)"],
            [[row.name, *map(row.text, SPLITS), row.optimism] for row in rows],
        ),
        min_width=560,
    )
