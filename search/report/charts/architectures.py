"""Strip plot of the objective by architecture: one line each, with median and best trial."""

from collections.abc import Mapping, Sequence
from statistics import median

from markupsafe import Markup

from chorale.search.report.charts import svg

ROW, TOP = 28, 30

TrialValue = tuple[float, bool]
"""Objective of a trial, and whether the trial finished."""


def architectures(values: Mapping[str, Sequence[TrialValue]], *, objective: str) -> Markup:
    """Draws a line for each architecture, in the given order, each with at least one trial.

    A bar marks the median of the finished trials, a diamond the best of them.
    """
    names = [svg.shortened(name) for name in values]
    left = svg.text_width(names) + 20
    ends = svg.padded_range([value for trials in values.values() for value, _ in trials])
    x = svg.AxisScale(*ends, left, svg.CHART_WIDTH - 20)
    bottom = TOP + ROW * len(names)
    marks = [_legend(left)]
    for at in svg.ticks(*ends, 7):
        marks.append(svg.line(x(at), TOP, x(at), bottom))
        marks.append(svg.text(x(at), bottom + 13, f"{at:.2f}", anchor="middle", fill=svg.MUTED))
    facts = []
    for i, (name, trials) in enumerate(values.items()):
        y = TOP + ROW * (i + 0.5)
        marks.append(svg.text(left - 12, y, names[i], anchor="end"))
        marks += [_trial(value, x(value), y, done=done) for value, done in sorted(trials)]
        done = [value for value, is_done in trials if is_done]
        if done:
            at = x(median(done))
            marks.append(svg.line(at, y - 9, at, y + 9, stroke=svg.INK, stroke_width=2))
            marks.append(_best(x(max(done)), y))
            facts.append(f"{name}: best {max(done):.3f}, median {median(done):.3f}")
        else:
            facts.append(f"{name}: no finished trial")
    return svg.chart(
        "architectures",
        *marks,
        title=f"Objective of all trials by architecture ({objective} on validation tracks)",
        desc="; ".join(facts) + ".",
        height=bottom + 28,
    )


def _trial(value: float, x: float, y: float, *, done: bool) -> Markup:
    text = f"{value:.3f}, {'done' if done else 'pruned'}"
    if done:
        return svg.element("circle", svg.tooltip(text), cx=x, cy=y, r=4, fill=svg.BLUE,
                           fill_opacity="0.55")  # fmt: skip
    return svg.element("circle", svg.tooltip(text), cx=x, cy=y, r=3, fill="none", stroke=svg.MUTED)


def _best(x: float, y: float) -> Markup:
    at = f"{x:.1f},{y - 7:.1f} {x + 7:.1f},{y:.1f} {x:.1f},{y + 7:.1f} {x - 7:.1f},{y:.1f}"
    return svg.element("polygon", points=at, fill=svg.ORANGE)


def _legend(left: float) -> Markup:
    marks = [
        svg.element("circle", cx=left + 6, cy=10, r=4, fill=svg.BLUE, fill_opacity="0.55"),
        svg.element("circle", cx=left + 74, cy=10, r=3, fill="none", stroke=svg.MUTED),
        svg.line(left + 150, 2, left + 150, 18, stroke=svg.INK, stroke_width=2),
        _best(left + 296, 10),
    ]
    words = (("done", 16), ("pruned", 84), ("median of done", 158), ("best", 310))
    marks += [svg.text(left + at, 10, word, fill=svg.MUTED, font_size=11) for word, at in words]
    return svg.group(*marks)
