"""Validation, out-of-fold and test score on one line each, with the optimism (minus test)."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from chorale.search.report.charts import svg

ROW, TOP = 30, 40


@dataclass(frozen=True)
class SplitAccuracies:
    """Scores (0 to 1) of one ensemble or baseline; `optimism` is written at the line's end."""

    name: str
    validation: float | None
    out_of_fold: float
    test: float
    optimism: str = ""


def accuracy_by_split(rows: Sequence[SplitAccuracies], *, metric: str = "accuracy") -> Markup:
    """Draws one line per row, from its lowest to its highest accuracy, or mAP as `metric`."""
    names = [svg.shortened(row.name) for row in rows]
    left, right = svg.text_width(names) + 22, svg.CHART_WIDTH - 150
    values = [v for r in rows for v in (r.validation, r.out_of_fold, r.test) if v is not None]
    ends = svg.padded_range(values)
    x = svg.AxisScale(*ends, left, right)
    bottom = TOP + ROW * (len(rows) - 0.3)
    marks = [svg.line(x(at), TOP - 14, x(at), bottom) for at in svg.ticks(*ends)]
    marks += [
        svg.text(x(at), bottom + 13, label, anchor="middle", fill=svg.MUTED)
        for at, label in zip(svg.ticks(*ends), svg.tick_percents(svg.ticks(*ends)), strict=True)
    ]
    marks.append(_legend(left))
    marks.append(
        svg.text(right + 16, 12, "optimism (points)", fill=svg.MUTED, font_size=11),
    )
    for i, (row, name) in enumerate(zip(rows, names, strict=True)):
        y = TOP + ROW * i
        accuracies = [v for v in (row.validation, row.out_of_fold, row.test) if v is not None]
        text = f"{row.name}: out-of-fold {row.out_of_fold:.1%}, test {row.test:.1%}"
        if row.validation is not None:
            text += f", validation {row.validation:.1%}"
        children = [
            svg.tooltip(text),
            svg.text(left - 14, y, name, anchor="end"),
            svg.line(x(min(accuracies)), y, x(max(accuracies)), y, stroke=svg.MUTED),
        ]
        if row.validation is not None:
            children.append(_validation(x(row.validation), y))
        children += [_out_of_fold(x(row.out_of_fold), y), _test(x(row.test), y)]
        children.append(svg.text(right + 16, y, row.optimism, fill=svg.MUTED))
        marks.append(svg.group(*children))
    texts = [f"{r.name}: out-of-fold {r.out_of_fold:.1%}, test {r.test:.1%}" for r in rows]
    return svg.chart(
        "accuracy-by-split",
        *marks,
        title=f"{svg.capitalized(metric)} on validation, out-of-fold and test tracks",
        desc="; ".join(texts) + ".",
        height=bottom + 28,
    )


def _legend(left: float) -> Markup:
    parts = []
    for i, (mark, word) in enumerate(
        ((_validation, "validation"), (_out_of_fold, "out-of-fold"), (_test, "test"))
    ):
        at = left + 8 + 118 * i
        parts += [mark(at, 12), svg.text(at + 12, 12, word, fill=svg.MUTED, font_size=11)]
    return svg.group(*parts)


def _validation(x: float, y: float) -> Markup:
    return svg.element(
        "circle", cx=x, cy=y, r=4.5, fill=svg.PAPER, stroke=svg.GREEN, stroke_width=2
    )


def _out_of_fold(x: float, y: float) -> Markup:
    return svg.element("rect", x=x - 4.5, y=y - 4.5, width=9, height=9, fill=svg.BLUE)


def _test(x: float, y: float) -> Markup:
    at = f"{x:.1f},{y - 7:.1f} {x + 7:.1f},{y:.1f} {x:.1f},{y + 7:.1f} {x - 7:.1f},{y:.1f}"
    return svg.element("polygon", points=at, fill=svg.ORANGE)
